"""The menagerie: posed, rendered animals whose every point and visibility is known exactly."""

from tetrapose.synth import builds
from tetrapose.synth.folder import Recipe, Written, carry_out, write
from tetrapose.synth.scene import Animal, Scene, instances, render
from tetrapose.synth.sheet import sheet
from tetrapose.synth.stage import POSES

__all__ = [
    "POSES", "Animal", "Recipe", "Scene", "Written", "builds", "carry_out", "instances", "render",
    "sheet", "write",
]  # fmt: skip
