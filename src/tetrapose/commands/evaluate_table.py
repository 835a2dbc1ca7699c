"""A result of ``tetrapose evaluate`` as plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SPECIES_SHOWN = 60
NARROW, WIDE = 9, 24


def whole_set(result: Mapping[str, Any]) -> str:
    """One set under one protocol: figures, species, PCK and keypoints."""
    from tetrapose.evaluation.oks import FIGURES

    rules, counts = result["protocol"], result["counts"]
    lines = [
        counted(counts),
        *told(rules),
        *_notes(rules),
        "",
        line("", FIGURES),
        line("all", [number(result[key]) for key in FIGURES]),
    ]
    for name, figures in list(result["per_species"].items())[:SPECIES_SHOWN]:
        lines.append(line(name, [number(figures[key]) for key in FIGURES]))
    if len(result["per_species"]) > SPECIES_SHOWN:
        lines.append(f"and {len(result['per_species']) - SPECIES_SHOWN} species more")
    if result["headline"]:
        lines += ["", headline(result["headline"])]
    thresholds = list(next(iter(result["pck"].values())))
    lines += ["", line("PCK", [f"@{t}" for t in thresholds]) + "  over the / mean over"]
    for name, values in result["pck"].items():
        rule = rules["pck"][name]
        text = line(name, [number(values[t]) for t in thresholds])
        lines.append(f"{text}  {rule['length']} / {rule['mean']}")
    lines += ["", line("keypoint", ["labelled", "@0.05", "@0.1", "NME", "swapped"])]
    for name, figures in result["per_keypoint"].items():
        lines.append(line(name, [f"{figures['count']}", *_point(figures)]))
    lines.append(line("all", [f"{counts['keypoints']}", *_point(result)]))
    lines.append("(PCK of keypoints by box_area)")
    return "\n".join(lines)


def mix(sets: Mapping[str, Mapping[str, Any]], overall: Mapping[str, Any]) -> str:
    """Several sets under one protocol, each in its own skeleton, and the weighted overall."""
    columns = ("AP", "AP50", "AP75", "AR")
    first = next(iter(sets.values()))["protocol"]
    lines = [
        f"{len(sets)} sets; {counted(overall['counts'])}",
        *told(first, everywhere=False),
        "",
        line("set", [*columns, "PCK@0.05", "NME", "animals", "points"]) + "  skeleton, sigmas",
    ]
    for name, result in sets.items():
        rules = result["protocol"]
        lines.append(
            line(name, _row(result, columns)) + f"  {rules['skeleton']}, {rules['sigmas']['set']}"
        )
    lines.append(line("overall", _row(overall, columns)))
    lines.append(f"overall: {overall['rule']}; PCK by box_area")
    if overall["headline"]:
        lines.append(headline(overall["headline"]))
    for name, result in sets.items():
        lines += [f"{name}: {text}" for text in _notes(result["protocol"])]
    return "\n".join(lines)


def protocols(result: Mapping[str, Any]) -> str:
    """One set under all protocols, side by side."""
    columns = ("AP", "AP50", "AP75", "AR")
    first = next(iter(result["protocols"].values()))["protocol"]
    lines = [
        counted(result["counts"]),
        _made(first),
        *_notes(first),
        "",
        line("protocol", [*columns, "mean OKS"]) + "  sigmas, area; species; its own figure",
    ]
    for name, each in result["protocols"].items():
        rules = each["protocol"]
        text = f"{rules['sigmas']['set']}, {rules['area']['rule']}; {_pooling(rules)}"
        if each["headline"]:
            text += f"; {headline(each['headline'])}"
        cells = [number(each[key]) for key in (*columns, "oks")]
        lines.append(f"{line(name, cells)}  {text}")
    return "\n".join([*lines, RULES_IN_JSON])


def protocols_of_mix(sets: Mapping[str, Mapping[str, Any]], overall: Mapping[str, Any]) -> str:
    """AP of several sets under all protocols, and the weighted overall."""
    names = list(sets)
    lines = [
        "",
        line("AP", [name[-12:] for name in (*names, "overall")], wide=14) + "  its own figure",
    ]
    for protocol, each in overall["protocols"].items():
        cells = [number(sets[name]["protocols"][protocol]["AP"]) for name in names]
        text = headline(each["headline"]) if each["headline"] else ""
        lines.append(f"{line(protocol, [*cells, number(each['AP'])], wide=14)}  {text}".rstrip())
    return "\n".join([*lines, RULES_IN_JSON])


RULES_IN_JSON = "(--json and --html hold the rules of each and where it departs from its source)"


def counted(counts: Mapping[str, int]) -> str:
    """How much was scored."""
    return (
        f"{counts['instances_scored']:,} animals, {counts['keypoints']:,} labelled points, "
        f"{counts['pictures']:,} pictures; {counts['predictions']:,} predictions"
    )


def told(rules: Mapping[str, Any], *, everywhere: bool = True) -> list[str]:
    """The protocol in two lines; sigmas are left to the rows where sets differ in them."""
    sigmas = f"sigmas {rules['sigmas']['set']} of {rules['skeleton']}; " if everywhere else ""
    return [
        f"protocol {rules['name']}; {sigmas}area {rules['area']['rule']}; {_pooling(rules)}",
        _made(rules),
    ]


def _made(rules: Mapping[str, Any]) -> str:
    flip = {True: "flip test", False: "no flip test", None: "flip test not known"}
    return (
        f"boxes {rules['boxes'].partition(':')[0]}; {flip[rules['flip_test']]}; "
        f"decoder {rules['decoder'] or 'not known'}"
    )


def _pooling(rules: Mapping[str, Any]) -> str:
    return "mean over species" if rules["pooling"].startswith("mean") else "species pooled"


def _notes(rules: Mapping[str, Any]) -> list[str]:
    return [f"note: {note}" for note in rules["notes"]]


def _row(result: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    counts = result["counts"]
    return [
        *(number(result[key]) for key in columns),
        number(result["pck"]["box_area"]["0.05"]),
        number(result["nme"]),
        f"{counts['instances_scored']:,}",
        f"{counts['keypoints']:,}",
    ]


def _point(figures: Mapping[str, Any]) -> list[str]:
    shares = figures["pck"]["box_area"]
    return [
        *(number(shares[threshold]) for threshold in ("0.05", "0.1")),
        number(figures["nme"]),
        number(figures["swap_rate"]),
    ]


def headline(figure: Mapping[str, Any]) -> str:
    """The figure that goes with AP in the protocol's source."""
    return f"{figure['name']}: {number(figure['value'])}"


def line(name: str, cells: Sequence[str], *, wide: int = NARROW) -> str:
    """A row of a table."""
    return f"{name[:WIDE]:{WIDE}}" + "".join(f"{cell:>{wide}}" for cell in cells)


def number(value: float | None) -> str:
    """Three decimals; a dash for none, which is COCO's -1 too."""
    return "-" if value is None or value == -1 else f"{value:.3f}"
