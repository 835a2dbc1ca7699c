"""Learning from pictures whose points are labelled in part or not at all: one file a method.

A method is a ``Step`` (``step.py``): it holds its networks, and one call of ``turns`` is one step
of training. It is a generator that yields ``(network, losses by name)``; each time it does, the
module adds the losses up, goes backward and steps that network's optimizer, and only then asks for
the next, so that a method may look at what the step it has just caused did to the losses::

    class PlainPseudo:
        answer, trained = "network", ("network",)
        needs_pool, keeps_shown = True, False

        def __init__(self, start, *, threshold=0.4):
            self.networks = nn.ModuleDict({"network": start.network})
            ...

        def turns(self, labelled, pool, at):
            targets = labels(self.codec, labelled)
            ...
            yield "network", {"labelled": mean_square(out, *targets), "pseudo": ...}
            # here the network has been stepped: follow(teacher, network, decay) for an average

- Networks see pictures through ``look(network, pictures)``, several views in one batch.
- ``labelled`` and ``pool`` are ``Views``: weak and strong pictures of one crop, of equal geometry.
  The pool's labels are hidden: weight 0, NaN; with ``keeps_shown`` those stay that the animal shows
  in training too.
- What a step needs over all animals of the batch (thresholds, quantiles, a mean loss) is taken of
  ``pooled(values)``, which joins the processes of a run; losses are sums over the batch's size.
- State beside the networks' (running thresholds) goes into ``self.state``, an ``nn.Module`` of
  buffers, where the method has any: both are written with every checkpoint.
- No random number but by (seed, step): ``at.generator``, on the CPU.
- ``at.note(name, value)`` puts a figure into the curves; ``at.warn(key, line)`` says a thing once.

``module.py`` runs it, ``pairs.py`` draws the batches, ``run.py`` is one run from sets to result.
Methods are chosen by name in ``configs/method``: two lines of YAML.
"""
