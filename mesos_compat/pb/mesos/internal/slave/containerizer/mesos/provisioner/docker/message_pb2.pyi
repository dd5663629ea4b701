from mesos_compat.pb.mesos.docker import spec_pb2 as _spec_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Image(_message.Message):
    __slots__ = ("reference", "layer_ids", "config_digest")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    LAYER_IDS_FIELD_NUMBER: _ClassVar[int]
    CONFIG_DIGEST_FIELD_NUMBER: _ClassVar[int]
    reference: _spec_pb2.ImageReference
    layer_ids: _containers.RepeatedScalarFieldContainer[str]
    config_digest: str
    def __init__(self, reference: _Optional[_Union[_spec_pb2.ImageReference, _Mapping]] = ..., layer_ids: _Optional[_Iterable[str]] = ..., config_digest: _Optional[str] = ...) -> None: ...

class Images(_message.Message):
    __slots__ = ("images",)
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    images: _containers.RepeatedCompositeFieldContainer[Image]
    def __init__(self, images: _Optional[_Iterable[_Union[Image, _Mapping]]] = ...) -> None: ...
