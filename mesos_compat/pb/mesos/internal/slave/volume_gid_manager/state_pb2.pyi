from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class VolumeGidInfo(_message.Message):
    __slots__ = ("type", "path", "gid")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNKNOWN: _ClassVar[VolumeGidInfo.Type]
        PERSISTENT: _ClassVar[VolumeGidInfo.Type]
        SANDBOX_PATH: _ClassVar[VolumeGidInfo.Type]
    UNKNOWN: VolumeGidInfo.Type
    PERSISTENT: VolumeGidInfo.Type
    SANDBOX_PATH: VolumeGidInfo.Type
    TYPE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    GID_FIELD_NUMBER: _ClassVar[int]
    type: VolumeGidInfo.Type
    path: str
    gid: int
    def __init__(self, type: _Optional[_Union[VolumeGidInfo.Type, str]] = ..., path: _Optional[str] = ..., gid: _Optional[int] = ...) -> None: ...

class VolumeGidInfos(_message.Message):
    __slots__ = ("infos",)
    INFOS_FIELD_NUMBER: _ClassVar[int]
    infos: _containers.RepeatedCompositeFieldContainer[VolumeGidInfo]
    def __init__(self, infos: _Optional[_Iterable[_Union[VolumeGidInfo, _Mapping]]] = ...) -> None: ...
