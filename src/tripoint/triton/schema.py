"""The part of Triton's model configuration that is read and written here, as protobuf messages.

Triton reads ``config.pbtxt`` as the protobuf message ``inference.ModelConfig``. Its published
schema is in the package ``tritonclient``, which a user of tripoint need not have; the tests compare
every field below with it. Fields that are not below are skipped when a text is read.
"""

from __future__ import annotations

import functools
from typing import Any

_ENUMS = {
    "DataType": "TYPE_INVALID TYPE_BOOL TYPE_UINT8 TYPE_UINT16 TYPE_UINT32 TYPE_UINT64 TYPE_INT8 "
    "TYPE_INT16 TYPE_INT32 TYPE_INT64 TYPE_FP16 TYPE_FP32 TYPE_FP64 TYPE_STRING TYPE_BF16",
    "ModelInstanceGroup.Kind": "KIND_AUTO KIND_GPU KIND_CPU KIND_MODEL",
    "ModelInput.Format": "FORMAT_NONE FORMAT_NHWC FORMAT_NCHW",
}

# name, number, type; ``*`` is repeated, ``choice|`` is a oneof, ``K>V`` is a map.
_MESSAGES = {
    "ModelTensorReshape": "shape 1 *int64",
    "ModelInput": "name 1 string, data_type 2 DataType, format 3 ModelInput.Format, "
    "dims 4 *int64, reshape 5 ModelTensorReshape, is_shape_tensor 6 bool, "
    "allow_ragged_batch 7 bool, optional 8 bool, is_non_linear_format_io 9 bool",
    "ModelOutput": "name 1 string, data_type 2 DataType, dims 3 *int64, label_filename 4 string, "
    "reshape 5 ModelTensorReshape, is_shape_tensor 6 bool, is_non_linear_format_io 7 bool",
    "ModelInstanceGroup": "name 1 string, count 2 int32, gpus 3 *int32, "
    "kind 4 ModelInstanceGroup.Kind, profile 5 *string, rate_limiter 6 ModelRateLimiter, "
    "passive 7 bool, secondary_devices 8 *ModelInstanceGroup.SecondaryDevice, "
    "host_policy 9 string",
    "ModelVersionPolicy": "latest 1 policy_choice|ModelVersionPolicy.Latest, "
    "all 2 policy_choice|ModelVersionPolicy.All, "
    "specific 3 policy_choice|ModelVersionPolicy.Specific",
    "ModelVersionPolicy.Latest": "num_versions 1 uint32",
    "ModelVersionPolicy.All": "",
    "ModelVersionPolicy.Specific": "versions 1 *int64",
    "ModelDynamicBatching": "preferred_batch_size 1 *int32, "
    "max_queue_delay_microseconds 2 uint64, preserve_ordering 3 bool, priority_levels 4 uint64, "
    "default_priority_level 5 uint64, default_queue_policy 6 ModelQueuePolicy, "
    "priority_queue_policy 7 uint64>ModelQueuePolicy",
    "ModelParameter": "string_value 1 string",
    "ModelConfig": "name 1 string, platform 2 string, version_policy 3 ModelVersionPolicy, "
    "max_batch_size 4 int32, input 5 *ModelInput, output 6 *ModelOutput, "
    "instance_group 7 *ModelInstanceGroup, default_model_filename 8 string, "
    "cc_model_filenames 9 string>string, metric_tags 10 string>string, "
    "dynamic_batching 11 scheduling_choice|ModelDynamicBatching, "
    "optimization 12 ModelOptimizationPolicy, "
    "sequence_batching 13 scheduling_choice|ModelSequenceBatching, "
    "parameters 14 string>ModelParameter, "
    "ensemble_scheduling 15 scheduling_choice|ModelEnsembling, model_warmup 16 *ModelWarmup, "
    "backend 17 string, model_operations 18 ModelOperations, "
    "model_transaction_policy 19 ModelTransactionPolicy, batch_input 20 *BatchInput, "
    "batch_output 21 *BatchOutput, model_repository_agents 23 ModelRepositoryAgents, "
    "response_cache 24 ModelResponseCache, runtime 25 string, model_metrics 26 ModelMetrics",
    # Of the following only what is read; what else stands in them is skipped.
    "BatchInput": "target_name 2 *string",
    "BatchOutput": "target_name 1 *string",
    "ModelSequenceBatching": "control_input 2 *ModelSequenceBatching.ControlInput, "
    "state 5 *ModelSequenceBatching.State",
    "ModelSequenceBatching.ControlInput": "name 1 string",
    "ModelSequenceBatching.State": "input_name 1 string, output_name 2 string",
    "ModelEnsembling": "step 1 *ModelEnsembling.Step",
    "ModelEnsembling.Step": "model_name 1 string, model_version 2 int64, "
    "input_map 3 string>string, output_map 4 string>string",
    "ModelRateLimiter": "",
    "ModelInstanceGroup.SecondaryDevice": "",
    "ModelQueuePolicy": "",
    "ModelOptimizationPolicy": "",
    "ModelWarmup": "",
    "ModelOperations": "",
    "ModelTransactionPolicy": "",
    "ModelRepositoryAgents": "",
    "ModelResponseCache": "",
    "ModelMetrics": "",
}

PARTIAL = frozenset(
    f"inference.{name}" for name in list(_MESSAGES)[list(_MESSAGES).index("BatchInput") :]
)
"""Full names of the messages whose fields are not all known here."""

DATA_TYPES = frozenset(_ENUMS["DataType"].split()) - {"TYPE_INVALID"}
"""What ``data_type`` may be."""


KIND_CPU = _ENUMS["ModelInstanceGroup.Kind"].split().index("KIND_CPU")
"""The number of that kind of instance group."""


def data_type_name(number: int) -> str:
    """The name of a data type; its number if it has none."""
    names = _ENUMS["DataType"].split()
    return names[number] if 0 <= number < len(names) else str(number)


def new_config() -> Any:
    """An empty ``inference.ModelConfig``."""
    return _message_class()()


@functools.cache
def _message_class() -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    proto = descriptor_pb2.FileDescriptorProto(
        name="tripoint_model_config.proto", package="inference", syntax="proto3"
    )
    made: dict[str, Any] = {}
    # Messages before the enums and messages that are nested in them.
    for name in sorted(_MESSAGES, key=lambda name: name.count(".")):
        outer, _, own = name.rpartition(".")
        place = made[outer].nested_type if outer else proto.message_type
        made[name] = place.add(name=own)
    for name, values in _ENUMS.items():
        outer, _, own = name.rpartition(".")
        enum = (made[outer] if outer else proto).enum_type.add(name=own)
        for number, value in enumerate(values.split()):
            enum.value.add(name=value, number=number)
    for name, fields in _MESSAGES.items():
        for field in filter(None, fields.split(", ")):
            _add_field(made[name], name, *field.split(" "))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(proto)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("inference.ModelConfig"))


def _add_field(message: Any, owner: str, name: str, number: str, kind: str) -> None:
    field = message.field.add(name=name, number=int(number), label="LABEL_OPTIONAL")
    if ">" in kind:
        entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        for index, part in enumerate(kind.split(">")):
            _add_field(entry, "", ("key", "value")[index], str(index + 1), part)
        kind = f"*{owner}.{entry.name}"
    if "|" in kind:
        choice, kind = kind.split("|")
        if choice not in [oneof.name for oneof in message.oneof_decl]:
            message.oneof_decl.add(name=choice)
        field.oneof_index = [oneof.name for oneof in message.oneof_decl].index(choice)
    if kind.startswith("*"):
        field.label, kind = field.LABEL_REPEATED, kind[1:]
    if kind[0].islower():
        field.type = field.Type.Value(f"TYPE_{kind.upper()}")
    else:
        field.type_name = f".inference.{kind}"
        field.type = field.TYPE_ENUM if kind in _ENUMS else field.TYPE_MESSAGE
