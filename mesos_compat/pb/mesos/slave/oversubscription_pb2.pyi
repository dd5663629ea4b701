from mesos_compat.pb.mesos import mesos_pb2 as _mesos_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class QoSCorrection(_message.Message):
    __slots__ = ("type", "kill")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KILL: _ClassVar[QoSCorrection.Type]
    KILL: QoSCorrection.Type
    class Kill(_message.Message):
        __slots__ = ("framework_id", "executor_id", "container_id")
        FRAMEWORK_ID_FIELD_NUMBER: _ClassVar[int]
        EXECUTOR_ID_FIELD_NUMBER: _ClassVar[int]
        CONTAINER_ID_FIELD_NUMBER: _ClassVar[int]
        framework_id: _mesos_pb2.FrameworkID
        executor_id: _mesos_pb2.ExecutorID
        container_id: _mesos_pb2.ContainerID
        def __init__(self, framework_id: _Optional[_Union[_mesos_pb2.FrameworkID, _Mapping]] = ..., executor_id: _Optional[_Union[_mesos_pb2.ExecutorID, _Mapping]] = ..., container_id: _Optional[_Union[_mesos_pb2.ContainerID, _Mapping]] = ...) -> None: ...
    TYPE_FIELD_NUMBER: _ClassVar[int]
    KILL_FIELD_NUMBER: _ClassVar[int]
    type: QoSCorrection.Type
    kill: QoSCorrection.Kill
    def __init__(self, type: _Optional[_Union[QoSCorrection.Type, str]] = ..., kill: _Optional[_Union[QoSCorrection.Kill, _Mapping]] = ...) -> None: ...
