from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DockerVolume(_message.Message):
    __slots__ = ("driver", "name")
    DRIVER_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    driver: str
    name: str
    def __init__(self, driver: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class DockerVolumes(_message.Message):
    __slots__ = ("volumes",)
    VOLUMES_FIELD_NUMBER: _ClassVar[int]
    volumes: _containers.RepeatedCompositeFieldContainer[DockerVolume]
    def __init__(self, volumes: _Optional[_Iterable[_Union[DockerVolume, _Mapping]]] = ...) -> None: ...
