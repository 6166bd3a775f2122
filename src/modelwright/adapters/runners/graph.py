"""Runs a package's graph: its models through the loader it is given, and what combines them here."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from modelwright.adapters.runners.combine import elected, labels, places, votes, weighted_mean
from modelwright.adapters.runners.deadline import BusyError, InTime, LateError
from modelwright.adapters.runners.frame import Frame
from modelwright.core.device import Placement
from modelwright.core.errors import BadInputError, InternalError, ModelwrightError, UnavailableError
from modelwright.core.graph import Case, Ensemble, Fallback, Graph, Member, Switch, Wire
from modelwright.core.graph_outputs import VOTES, gives
from modelwright.core.graph_wires import verify
from modelwright.core.package import Package
from modelwright.core.package_codec import open_member
from modelwright.core.record_codec import malformed
from modelwright.core.signature import DATATYPES, Signature, TensorSpec
from modelwright.ports.runner import Remote, Runner, RunnerLoader
from modelwright.ports.trace import Traced, TracingRunner

Tensors = dict[str, NDArray[Any]]
MOST_LATE = 4
"""So many runs of one node may be late at once; then its fallback answers without asking it."""
_TOO_LATE = {"deadline": "graph.deadline", "busy": "graph.busy"}


class GraphRunners:
    """Loads packages that hold ``graph.json``, and leaves all others to the loader of their models.

    Args:
        members: loads packages that hold a model.
    """

    def __init__(self, members: RunnerLoader) -> None:
        self._members = members

    def load(self, package: Package, *, threads: int = 1, instead: str = "") -> Runner:
        """A runner over the graph, its models loaded one by one.

        Raises:
            CorruptError: the bytes of the package, or of a model in it, do not match; the graph does not fit its
                models.
            BadInputError: as the loader of the models.
        """
        graph = package.graph
        if graph is None:
            return self._members.load(package, threads=threads, instead=instead)
        packages = {name: open_member(package, name) for name, _ in graph.models}
        signatures = {name: member.signature for name, member in packages.items()}
        try:
            verify(graph, signatures, package.signature)
        except BadInputError as error:
            raise malformed("graph.json", error.what) from error
        runners: dict[str, Runner] = {}
        try:
            for name, member in packages.items():
                runners[name] = self.load(member, threads=threads, instead=instead)
        except BaseException:
            for runner in runners.values():
                runner.close()
            raise
        inner = frozenset(name for name, member in packages.items() if member.graph is not None)
        return GraphRunner(package.name, graph, signatures, package.signature, runners, inner)


class GraphRunner:
    """One loaded graph.

    Args:
        name: the model's name, for messages.
        graph: with a source for every input.
        signatures: of its models, by node.
        signature: its own.
        runners: of its models, by node; closed with it.
        inner: those of them that are graphs themselves.
    """

    remote: Remote | None = None

    def __init__(
        self,
        name: str,
        graph: Graph,
        signatures: Mapping[str, Signature],
        signature: Signature,
        runners: Mapping[str, Runner],
        inner: frozenset[str] = frozenset(),
    ) -> None:
        self._name, self._graph, self._signature, self._inner = name, graph, signature, inner
        self._runners: Mapping[str, Runner] = dict(runners)
        self._gives = gives(graph, signatures)
        self._inputs = {node: signatures[node].inputs for node in runners}
        self._in_time: Mapping[str, InTime[Tensors]] = {
            node: InTime(f"graph-{node}", MOST_LATE) for node, one in graph.nodes.items() if one.fallback
        }
        self._outputs = [spec.name for spec in signature.outputs]
        self._closed = False

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> Tensors:
        """Named output tensors (all when ``outputs`` is None). Nobody waits: deadlines inside do not hold.

        Raises:
            BadInputError: ``serve.model-rejected-input``.
            UnavailableError: ``serve.runner-closed``.
            ModelwrightError: what a model failed with, naming its node.
        """
        answered = self._run(inputs, hurried=False)
        return {name: answered[name] for name in (self._outputs if outputs is None else outputs)}

    def run_traced(self, inputs: Mapping[str, NDArray[Any]]) -> Traced:
        """All outputs, with what each node did; deadlines hold. Raises as ``run``."""
        return self._run(inputs, hurried=True)

    @property
    def memory_bytes(self) -> int:
        """What its models hold in processes of their own."""
        return sum(runner.memory_bytes for runner in self._runners.values())

    @property
    def placement(self) -> Placement:
        """That of its models where they share one; runs are made one at a time."""
        kinds = [runner.placement for runner in self._runners.values()]
        shared = kinds[0] if kinds and all(kind.kind == kinds[0].kind for kind in kinds) else Placement()
        reasons = "; ".join(dict.fromkeys(kind.reason for kind in kinds if kind.reason))
        replaceable = any(kind.replaceable for kind in kinds)
        return replace(shared, instances=1, reason=reasons, replaceable=replaceable)

    def unready(self) -> str:
        """Why it could not answer now: the first of its models that could not; empty when it could."""
        if self._closed:
            return "It is closed."
        said = ((name, runner.unready()) for name, runner in self._runners.items())
        return next((f"Node {name!r}: {why}" for name, why in said if why), "")

    def close(self) -> None:
        """Give every model's memory back."""
        self._closed = True
        for waiting in self._in_time.values():
            waiting.close()
        for runner in self._runners.values():
            runner.close()

    def _run(self, inputs: Mapping[str, NDArray[Any]], *, hurried: bool) -> Traced:
        if self._closed:
            raise UnavailableError("serve.runner-closed", f"The runner of {self._name!r} is closed.")
        for spec in self._signature.inputs:
            if spec.name not in inputs or len(inputs) != len(self._signature.inputs):
                raise BadInputError(
                    "serve.model-rejected-input",
                    f"Model {self._name!r} rejected its input.",
                    why=f"It takes {', '.join(one.name for one in self._signature.inputs)}.",
                    fix="Compare the tensors with the model's metadata.",
                )
        frame = Frame(inputs, hurried=hurried)
        answered = self._value(frame, self._graph.answer)
        outputs = {name: answered[name] for name in self._outputs}
        return Traced(outputs, frame.traces, tuple(dict.fromkeys(frame.notes)))

    def _value(self, frame: Frame, name: str) -> Tensors:
        """What a node gives for the frame's rows: once, however many ask."""
        held = frame.held(name)
        if held is not None:
            return held
        began = time.perf_counter()
        try:
            outputs = self._answer(frame, name)
        except ModelwrightError as error:
            frame.trace(name, {}, time.perf_counter() - began, error.code)
            raise
        frame.keep(name, outputs, time.perf_counter() - began)
        return outputs

    def _answer(self, frame: Frame, name: str) -> Tensors:
        node = self._graph.nodes[name]
        if node.model is not None:
            return self._model(frame, name, node.model)
        if node.ensemble is not None:
            return self._ensemble(frame, name, node.ensemble)
        if node.switch is not None:
            return self._switch(frame, name, node.switch)
        if node.fallback is not None:
            return self._fallback(frame, name, node.fallback)
        return self._value(frame, node.below[-1])  # what it takes of the nodes before is asked for there

    def _model(self, frame: Frame, name: str, member: Member) -> Tensors:
        feeds = {spec.name: self._feed(frame, spec, member.inputs[spec.name]) for spec in self._inputs[name]}
        runner = self._runners[name]
        try:
            if name not in self._inner or not frame.hurried:
                return runner.run(feeds)
            answered = cast("TracingRunner", runner).run_traced(feeds)
        except ModelwrightError as error:
            raise self._failed(name, error) from error
        except Exception as error:  # a runner's own fault is an answer like any other
            why = f"{type(error).__name__}."
            raise self._failed(name, InternalError("serve.runner-failed", "Its runner failed.", why=why)) from error
        frame.take_over(name, answered)
        return answered

    def _failed(self, name: str, error: ModelwrightError) -> ModelwrightError:
        inner = error.details.get("node")
        details = error.details | {"node": f"{name}/{inner}" if inner else name}
        what = f"Node {name!r} of {self._name!r} failed: {error.what}"
        return type(error)(error.code, what, why=error.why, fix=error.fix, details=details)

    def _feed(self, frame: Frame, spec: TensorSpec, wires: Sequence[Wire]) -> NDArray[Any]:
        """An input tensor from its sources."""
        sources = [self._source(frame, wire) for wire in wires]
        tensor, dtype = sources[0], DATATYPES[spec.datatype]
        if len(sources) > 1 or tensor.ndim != len(spec.shape):
            rows = len(tensor)
            columns = [source.reshape(rows, source.shape[1] if source.ndim > 1 else 1) for source in sources]
            tensor = np.concatenate(columns, axis=1) if len(columns) > 1 else columns[0]
            tensor = tensor.reshape(rows) if len(spec.shape) == 1 else tensor
        return tensor.astype(dtype, copy=False)

    def _source(self, frame: Frame, wire: Wire) -> NDArray[Any]:
        tensor = (self._value(frame, wire.node) if wire.node else frame.inputs)[wire.tensor]
        return tensor if wire.column < 0 else tensor[:, wire.column : wire.column + 1]

    def _ensemble(self, frame: Frame, name: str, ensemble: Ensemble) -> Tensors:
        answers = [self._value(frame, member) for member in ensemble.members]
        given, weights = self._gives[name], ensemble.weights
        if ensemble.method == "vote":
            return self._vote(ensemble, given, answers)
        outputs: Tensors = {}
        for spec in given.outputs:
            if spec.name != given.label_output or not given.classes:
                mean = weighted_mean([answer[spec.name] for answer in answers], weights)
                outputs[spec.name] = mean.astype(DATATYPES[spec.datatype], copy=False)
        label = given.output(given.label_output) if given.classes else None
        if label is not None:
            outputs[label.name] = _labelled(given, label, outputs[given.score_output].argmax(axis=1))
        return outputs

    def _vote(self, ensemble: Ensemble, given: Signature, answers: Sequence[Tensors]) -> Tensors:
        """The elected label and each class's share."""
        theirs = [self._gives[member] for member in ensemble.members]
        choices = []
        for each, answer in zip(theirs, answers, strict=True):
            label = answer[each.label_output].reshape(-1)
            choices.append(places(label, labels(each.classes, label.dtype)))
        shares = votes(choices, ensemble.weights, len(given.classes))
        scored = all(each.score_output and each.score_output != VOTES for each in theirs)
        scores = None
        if scored:
            held = [answer[each.score_output] for each, answer in zip(theirs, answers, strict=True)]
            scores = weighted_mean(held, ensemble.weights)
        label_spec = cast("TensorSpec", given.output(given.label_output))
        return {label_spec.name: _labelled(given, label_spec, elected(shares, scores)), VOTES: shares}

    def _switch(self, frame: Frame, name: str, switch: Switch) -> Tensors:
        """Every row to the first case that holds; their answers in the order of the rows."""
        values = frame.inputs[switch.tensor]
        column = values.reshape(len(values), values.shape[1] if values.ndim > 1 else 1)[:, switch.column]
        targets = list(dict.fromkeys((*(case.node for case in switch.cases), switch.default)))
        chosen = np.full(len(column), targets.index(switch.default), dtype=np.intp)
        for case in reversed(switch.cases):
            chosen[_holds(case, column)] = targets.index(case.node)
        specs = self._gives[name].outputs
        met = np.unique(chosen).tolist() or [targets.index(switch.default)]
        if len(met) == 1:
            answer = self._value(frame, targets[met[0]])
            return {spec.name: answer[spec.name].astype(DATATYPES[spec.datatype], copy=False) for spec in specs}
        outputs: Tensors = {}
        for place in met:
            rows = np.flatnonzero(chosen == place)
            part = frame.part(rows)
            answer = self._value(part, targets[place])
            frame.merge(part)
            for spec in specs:
                tensor = answer[spec.name]
                if spec.name not in outputs:
                    outputs[spec.name] = np.empty((len(column), *tensor.shape[1:]), DATATYPES[spec.datatype])
                outputs[spec.name][rows] = tensor
        return outputs

    def _fallback(self, frame: Frame, name: str, fallback: Fallback) -> Tensors:
        """The first one's answer, or why not and the other's."""
        specs = self._gives[name].outputs
        branch, seconds = frame.branch(), fallback.deadline_ms / 1000
        answer, reason = None, ""

        def first() -> Tensors:
            return self._value(branch, fallback.first)

        try:
            answer = self._in_time[name].run(first, seconds) if seconds and frame.hurried else first()
        except ModelwrightError:
            reason = "error"
        except LateError:
            reason = "deadline"
        except BusyError:
            reason = "busy"
        if reason in _TOO_LATE:  # a late thread may still write to the branch
            frame.trace(fallback.first, {}, seconds, _TOO_LATE[reason])
        else:
            frame.merge(branch)
        if answer is None:
            frame.notes.append(f"fallback {name} {reason}")
            answer = self._value(frame, fallback.then)
        return {spec.name: answer[spec.name].astype(DATATYPES[spec.datatype], copy=False) for spec in specs}


def _labelled(given: Signature, label: TensorSpec, chosen: NDArray[np.intp]) -> NDArray[Any]:
    values = labels(given.classes, DATATYPES[label.datatype])[chosen]
    return values.reshape(len(values), *(1 for _ in label.shape[1:]))


def _holds(case: Case, column: NDArray[Any]) -> NDArray[np.bool_]:
    """The rows that a case is for; a missing value is in no range and equals nothing."""
    if column.dtype == object:
        if case.missing:
            return np.array([value is None or value == "" for value in column.tolist()], dtype=bool)
        known = set(case.categories)
        return np.array([value in known for value in column.tolist()], dtype=bool)
    if case.missing:
        return np.isnan(column) if column.dtype.kind == "f" else np.zeros(len(column), dtype=bool)
    if case.numbers:
        return np.isin(column, case.numbers)
    holds = ~np.isnan(column) if column.dtype.kind == "f" else np.ones(len(column), dtype=bool)
    if case.low is not None:
        holds &= column >= case.low
    if case.high is not None:
        holds &= column < case.high
    return holds
