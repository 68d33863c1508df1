"""Variables that a graph's signatures read and that nothing sets: such a model loads, and fails at its first request.

A Keras 3 model that was saved as an attribute of a ``tf.Module`` is so: the checkpoint has copies of its variables, and the served
functions read the originals. TensorFlow says "Could not find variable" at the first request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from infra_validator.protos import tensorflow_pb2

#: How TensorFlow 2 names the call of its restore function. Graphs of TensorFlow 1 have no such call; they may be huge, and their
#: variables are all in their checkpoints.
_RESTORE_CALL = "StatefulPartitionedCall"

_VARIABLE = "VarHandleOp"
_INIT_SIGNATURE = "__saved_model_init_op"


def unset_variables(
    meta_graph: tensorflow_pb2.MetaGraphDef, nodes: Callable[[], Iterable[tensorflow_pb2.NodeDef]]
) -> tuple[str, ...]:
    """The names of the variables that signatures read and neither an initializer nor the restoring sets.

    Args:
      meta_graph: everything but the graph.
      nodes: reads the graph's own nodes (not those of its functions).
    """
    if not meta_graph.saver_def.restore_op_name.startswith(_RESTORE_CALL):
        return ()
    ops: dict[str, str] = {}
    inputs: dict[str, Sequence[str]] = {}
    for node in nodes():
        ops[node.name] = node.op
        inputs[node.name] = [name.lstrip("^").partition(":")[0] for name in node.input]
    setting = [meta_graph.saver_def.restore_op_name]
    setting += [name for name, op in ops.items() if op.startswith("Assign")]
    reading = []
    for name, signature in meta_graph.signature_def.items():
        ends = [info.name.partition(":")[0] for info in signature.outputs.values()]
        if name == _INIT_SIGNATURE:
            # What an initializer hands to a function may be set in there.
            setting += [node for node in _reached(ends, inputs) if "PartitionedCall" in ops.get(node, "")]
        else:
            reading += ends
    is_set = {name for setter in setting for name in _set_by(setter, ops, inputs)}
    read = {name for name in _reached(reading, inputs) if ops.get(name) == _VARIABLE}
    return tuple(sorted(read - is_set))


def _set_by(setter: str, ops: Mapping[str, str], inputs: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """The variables that a node sets: the first input of an assignment, all that a function is handed."""
    handed = inputs.get(setter, ())
    return handed[:1] if ops.get(setter, "").startswith("Assign") else handed


def _reached(ends: Iterable[str], inputs: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Every node that ``ends`` depend on, themselves included."""
    seen = set()
    waiting = list(ends)
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            yield name
            waiting += inputs.get(name, ())
