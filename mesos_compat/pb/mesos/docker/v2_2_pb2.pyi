from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ImageManifest(_message.Message):
    __slots__ = ("schemaVersion", "mediaType", "config", "layers")
    class Config(_message.Message):
        __slots__ = ("mediaType", "size", "digest")
        MEDIATYPE_FIELD_NUMBER: _ClassVar[int]
        SIZE_FIELD_NUMBER: _ClassVar[int]
        DIGEST_FIELD_NUMBER: _ClassVar[int]
        mediaType: str
        size: int
        digest: str
        def __init__(self, mediaType: _Optional[str] = ..., size: _Optional[int] = ..., digest: _Optional[str] = ...) -> None: ...
    class Layer(_message.Message):
        __slots__ = ("mediaType", "size", "digest", "urls")
        MEDIATYPE_FIELD_NUMBER: _ClassVar[int]
        SIZE_FIELD_NUMBER: _ClassVar[int]
        DIGEST_FIELD_NUMBER: _ClassVar[int]
        URLS_FIELD_NUMBER: _ClassVar[int]
        mediaType: str
        size: int
        digest: str
        urls: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, mediaType: _Optional[str] = ..., size: _Optional[int] = ..., digest: _Optional[str] = ..., urls: _Optional[_Iterable[str]] = ...) -> None: ...
    SCHEMAVERSION_FIELD_NUMBER: _ClassVar[int]
    MEDIATYPE_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    schemaVersion: int
    mediaType: str
    config: ImageManifest.Config
    layers: _containers.RepeatedCompositeFieldContainer[ImageManifest.Layer]
    def __init__(self, schemaVersion: _Optional[int] = ..., mediaType: _Optional[str] = ..., config: _Optional[_Union[ImageManifest.Config, _Mapping]] = ..., layers: _Optional[_Iterable[_Union[ImageManifest.Layer, _Mapping]]] = ...) -> None: ...
