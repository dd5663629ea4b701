from mesos_compat.pb.mesos import mesos_pb2 as _mesos_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DockerTaskExecutorPrepareInfo(_message.Message):
    __slots__ = ("executorEnvironment", "taskEnvironment")
    EXECUTORENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    TASKENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    executorEnvironment: _mesos_pb2.Environment
    taskEnvironment: _mesos_pb2.Environment
    def __init__(self, executorEnvironment: _Optional[_Union[_mesos_pb2.Environment, _Mapping]] = ..., taskEnvironment: _Optional[_Union[_mesos_pb2.Environment, _Mapping]] = ...) -> None: ...
