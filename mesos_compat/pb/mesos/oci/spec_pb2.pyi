from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Descriptor(_message.Message):
    __slots__ = ("mediaType", "digest", "size", "urls", "annotations")
    class AnnotationsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MEDIATYPE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    URLS_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    mediaType: str
    digest: str
    size: int
    urls: _containers.RepeatedScalarFieldContainer[str]
    annotations: _containers.ScalarMap[str, str]
    def __init__(self, mediaType: _Optional[str] = ..., digest: _Optional[str] = ..., size: _Optional[int] = ..., urls: _Optional[_Iterable[str]] = ..., annotations: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Platform(_message.Message):
    __slots__ = ("architecture", "os", "os_version", "os_features", "variant", "features")
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    OS_FIELD_NUMBER: _ClassVar[int]
    OS_VERSION_FIELD_NUMBER: _ClassVar[int]
    OS_FEATURES_FIELD_NUMBER: _ClassVar[int]
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    architecture: str
    os: str
    os_version: str
    os_features: _containers.RepeatedScalarFieldContainer[str]
    variant: str
    features: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, architecture: _Optional[str] = ..., os: _Optional[str] = ..., os_version: _Optional[str] = ..., os_features: _Optional[_Iterable[str]] = ..., variant: _Optional[str] = ..., features: _Optional[_Iterable[str]] = ...) -> None: ...

class ManifestDescriptor(_message.Message):
    __slots__ = ("mediaType", "digest", "size", "platform", "urls", "annotations")
    class AnnotationsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MEDIATYPE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_FIELD_NUMBER: _ClassVar[int]
    URLS_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    mediaType: str
    digest: str
    size: int
    platform: Platform
    urls: _containers.RepeatedScalarFieldContainer[str]
    annotations: _containers.ScalarMap[str, str]
    def __init__(self, mediaType: _Optional[str] = ..., digest: _Optional[str] = ..., size: _Optional[int] = ..., platform: _Optional[_Union[Platform, _Mapping]] = ..., urls: _Optional[_Iterable[str]] = ..., annotations: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Index(_message.Message):
    __slots__ = ("schemaVersion", "manifests", "annotations")
    class AnnotationsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SCHEMAVERSION_FIELD_NUMBER: _ClassVar[int]
    MANIFESTS_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    schemaVersion: int
    manifests: _containers.RepeatedCompositeFieldContainer[ManifestDescriptor]
    annotations: _containers.ScalarMap[str, str]
    def __init__(self, schemaVersion: _Optional[int] = ..., manifests: _Optional[_Iterable[_Union[ManifestDescriptor, _Mapping]]] = ..., annotations: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Manifest(_message.Message):
    __slots__ = ("schemaVersion", "config", "layers", "annotations")
    class AnnotationsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SCHEMAVERSION_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    schemaVersion: int
    config: Descriptor
    layers: _containers.RepeatedCompositeFieldContainer[Descriptor]
    annotations: _containers.ScalarMap[str, str]
    def __init__(self, schemaVersion: _Optional[int] = ..., config: _Optional[_Union[Descriptor, _Mapping]] = ..., layers: _Optional[_Iterable[_Union[Descriptor, _Mapping]]] = ..., annotations: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Configuration(_message.Message):
    __slots__ = ("architecture", "os", "rootfs", "created", "author", "config", "history")
    class Rootfs(_message.Message):
        __slots__ = ("type", "diff_ids")
        TYPE_FIELD_NUMBER: _ClassVar[int]
        DIFF_IDS_FIELD_NUMBER: _ClassVar[int]
        type: str
        diff_ids: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, type: _Optional[str] = ..., diff_ids: _Optional[_Iterable[str]] = ...) -> None: ...
    class Config(_message.Message):
        __slots__ = ("User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels")
        class Empty(_message.Message):
            __slots__ = ()
            def __init__(self) -> None: ...
        class ExposedPortsEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: Configuration.Config.Empty
            def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Configuration.Config.Empty, _Mapping]] = ...) -> None: ...
        class VolumesEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: Configuration.Config.Empty
            def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Configuration.Config.Empty, _Mapping]] = ...) -> None: ...
        class LabelsEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: str
            def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
        USER_FIELD_NUMBER: _ClassVar[int]
        EXPOSEDPORTS_FIELD_NUMBER: _ClassVar[int]
        ENV_FIELD_NUMBER: _ClassVar[int]
        ENTRYPOINT_FIELD_NUMBER: _ClassVar[int]
        CMD_FIELD_NUMBER: _ClassVar[int]
        VOLUMES_FIELD_NUMBER: _ClassVar[int]
        WORKINGDIR_FIELD_NUMBER: _ClassVar[int]
        LABELS_FIELD_NUMBER: _ClassVar[int]
        User: str
        ExposedPorts: _containers.MessageMap[str, Configuration.Config.Empty]
        Env: _containers.RepeatedScalarFieldContainer[str]
        Entrypoint: _containers.RepeatedScalarFieldContainer[str]
        Cmd: _containers.RepeatedScalarFieldContainer[str]
        Volumes: _containers.MessageMap[str, Configuration.Config.Empty]
        WorkingDir: str
        Labels: _containers.ScalarMap[str, str]
        def __init__(self, User: _Optional[str] = ..., ExposedPorts: _Optional[_Mapping[str, Configuration.Config.Empty]] = ..., Env: _Optional[_Iterable[str]] = ..., Entrypoint: _Optional[_Iterable[str]] = ..., Cmd: _Optional[_Iterable[str]] = ..., Volumes: _Optional[_Mapping[str, Configuration.Config.Empty]] = ..., WorkingDir: _Optional[str] = ..., Labels: _Optional[_Mapping[str, str]] = ...) -> None: ...
    class History(_message.Message):
        __slots__ = ("created", "author", "created_by", "comment", "empty_layer")
        CREATED_FIELD_NUMBER: _ClassVar[int]
        AUTHOR_FIELD_NUMBER: _ClassVar[int]
        CREATED_BY_FIELD_NUMBER: _ClassVar[int]
        COMMENT_FIELD_NUMBER: _ClassVar[int]
        EMPTY_LAYER_FIELD_NUMBER: _ClassVar[int]
        created: str
        author: str
        created_by: str
        comment: str
        empty_layer: bool
        def __init__(self, created: _Optional[str] = ..., author: _Optional[str] = ..., created_by: _Optional[str] = ..., comment: _Optional[str] = ..., empty_layer: _Optional[bool] = ...) -> None: ...
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    OS_FIELD_NUMBER: _ClassVar[int]
    ROOTFS_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    architecture: str
    os: str
    rootfs: Configuration.Rootfs
    created: str
    author: str
    config: Configuration.Config
    history: _containers.RepeatedCompositeFieldContainer[Configuration.History]
    def __init__(self, architecture: _Optional[str] = ..., os: _Optional[str] = ..., rootfs: _Optional[_Union[Configuration.Rootfs, _Mapping]] = ..., created: _Optional[str] = ..., author: _Optional[str] = ..., config: _Optional[_Union[Configuration.Config, _Mapping]] = ..., history: _Optional[_Iterable[_Union[Configuration.History, _Mapping]]] = ...) -> None: ...
