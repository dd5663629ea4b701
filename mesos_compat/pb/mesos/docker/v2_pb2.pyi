from mesos_compat.pb.mesos.docker import v1_pb2 as _v1_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ImageManifest(_message.Message):
    __slots__ = ("name", "tag", "architecture", "fsLayers", "history", "schemaVersion", "signatures")
    class FsLayer(_message.Message):
        __slots__ = ("blobSum",)
        BLOBSUM_FIELD_NUMBER: _ClassVar[int]
        blobSum: str
        def __init__(self, blobSum: _Optional[str] = ...) -> None: ...
    class History(_message.Message):
        __slots__ = ("v1Compatibility", "v1")
        V1COMPATIBILITY_FIELD_NUMBER: _ClassVar[int]
        V1_FIELD_NUMBER: _ClassVar[int]
        v1Compatibility: str
        v1: _v1_pb2.ImageManifest
        def __init__(self, v1Compatibility: _Optional[str] = ..., v1: _Optional[_Union[_v1_pb2.ImageManifest, _Mapping]] = ...) -> None: ...
    class Signature(_message.Message):
        __slots__ = ("header", "signature", "protected")
        class Header(_message.Message):
            __slots__ = ("jwk", "alg")
            class Jwk(_message.Message):
                __slots__ = ("crv", "kid", "kty", "x", "y")
                CRV_FIELD_NUMBER: _ClassVar[int]
                KID_FIELD_NUMBER: _ClassVar[int]
                KTY_FIELD_NUMBER: _ClassVar[int]
                X_FIELD_NUMBER: _ClassVar[int]
                Y_FIELD_NUMBER: _ClassVar[int]
                crv: str
                kid: str
                kty: str
                x: str
                y: str
                def __init__(self, crv: _Optional[str] = ..., kid: _Optional[str] = ..., kty: _Optional[str] = ..., x: _Optional[str] = ..., y: _Optional[str] = ...) -> None: ...
            JWK_FIELD_NUMBER: _ClassVar[int]
            ALG_FIELD_NUMBER: _ClassVar[int]
            jwk: ImageManifest.Signature.Header.Jwk
            alg: str
            def __init__(self, jwk: _Optional[_Union[ImageManifest.Signature.Header.Jwk, _Mapping]] = ..., alg: _Optional[str] = ...) -> None: ...
        HEADER_FIELD_NUMBER: _ClassVar[int]
        SIGNATURE_FIELD_NUMBER: _ClassVar[int]
        PROTECTED_FIELD_NUMBER: _ClassVar[int]
        header: ImageManifest.Signature.Header
        signature: str
        protected: str
        def __init__(self, header: _Optional[_Union[ImageManifest.Signature.Header, _Mapping]] = ..., signature: _Optional[str] = ..., protected: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    FSLAYERS_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    SCHEMAVERSION_FIELD_NUMBER: _ClassVar[int]
    SIGNATURES_FIELD_NUMBER: _ClassVar[int]
    name: str
    tag: str
    architecture: str
    fsLayers: _containers.RepeatedCompositeFieldContainer[ImageManifest.FsLayer]
    history: _containers.RepeatedCompositeFieldContainer[ImageManifest.History]
    schemaVersion: int
    signatures: _containers.RepeatedCompositeFieldContainer[ImageManifest.Signature]
    def __init__(self, name: _Optional[str] = ..., tag: _Optional[str] = ..., architecture: _Optional[str] = ..., fsLayers: _Optional[_Iterable[_Union[ImageManifest.FsLayer, _Mapping]]] = ..., history: _Optional[_Iterable[_Union[ImageManifest.History, _Mapping]]] = ..., schemaVersion: _Optional[int] = ..., signatures: _Optional[_Iterable[_Union[ImageManifest.Signature, _Mapping]]] = ...) -> None: ...
