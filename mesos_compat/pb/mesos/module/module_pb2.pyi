from mesos_compat.pb.mesos import mesos_pb2 as _mesos_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Modules(_message.Message):
    __slots__ = ("libraries",)
    class Library(_message.Message):
        __slots__ = ("file", "name", "modules")
        class Module(_message.Message):
            __slots__ = ("name", "parameters")
            NAME_FIELD_NUMBER: _ClassVar[int]
            PARAMETERS_FIELD_NUMBER: _ClassVar[int]
            name: str
            parameters: _containers.RepeatedCompositeFieldContainer[_mesos_pb2.Parameter]
            def __init__(self, name: _Optional[str] = ..., parameters: _Optional[_Iterable[_Union[_mesos_pb2.Parameter, _Mapping]]] = ...) -> None: ...
        FILE_FIELD_NUMBER: _ClassVar[int]
        NAME_FIELD_NUMBER: _ClassVar[int]
        MODULES_FIELD_NUMBER: _ClassVar[int]
        file: str
        name: str
        modules: _containers.RepeatedCompositeFieldContainer[Modules.Library.Module]
        def __init__(self, file: _Optional[str] = ..., name: _Optional[str] = ..., modules: _Optional[_Iterable[_Union[Modules.Library.Module, _Mapping]]] = ...) -> None: ...
    LIBRARIES_FIELD_NUMBER: _ClassVar[int]
    libraries: _containers.RepeatedCompositeFieldContainer[Modules.Library]
    def __init__(self, libraries: _Optional[_Iterable[_Union[Modules.Library, _Mapping]]] = ...) -> None: ...
