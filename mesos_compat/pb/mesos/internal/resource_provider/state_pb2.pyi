from mesos_compat.pb.mesos import mesos_pb2 as _mesos_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ResourceProviderState(_message.Message):
    __slots__ = ("operations", "resources", "storage")
    class Storage(_message.Message):
        __slots__ = ("profiles",)
        class ProfileInfo(_message.Message):
            __slots__ = ("capability", "parameters")
            class ParametersEntry(_message.Message):
                __slots__ = ("key", "value")
                KEY_FIELD_NUMBER: _ClassVar[int]
                VALUE_FIELD_NUMBER: _ClassVar[int]
                key: str
                value: str
                def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
            CAPABILITY_FIELD_NUMBER: _ClassVar[int]
            PARAMETERS_FIELD_NUMBER: _ClassVar[int]
            capability: _mesos_pb2.Volume.Source.CSIVolume.VolumeCapability
            parameters: _containers.ScalarMap[str, str]
            def __init__(self, capability: _Optional[_Union[_mesos_pb2.Volume.Source.CSIVolume.VolumeCapability, _Mapping]] = ..., parameters: _Optional[_Mapping[str, str]] = ...) -> None: ...
        class ProfilesEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: ResourceProviderState.Storage.ProfileInfo
            def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ResourceProviderState.Storage.ProfileInfo, _Mapping]] = ...) -> None: ...
        PROFILES_FIELD_NUMBER: _ClassVar[int]
        profiles: _containers.MessageMap[str, ResourceProviderState.Storage.ProfileInfo]
        def __init__(self, profiles: _Optional[_Mapping[str, ResourceProviderState.Storage.ProfileInfo]] = ...) -> None: ...
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    STORAGE_FIELD_NUMBER: _ClassVar[int]
    operations: _containers.RepeatedCompositeFieldContainer[_mesos_pb2.Operation]
    resources: _containers.RepeatedCompositeFieldContainer[_mesos_pb2.Resource]
    storage: ResourceProviderState.Storage
    def __init__(self, operations: _Optional[_Iterable[_Union[_mesos_pb2.Operation, _Mapping]]] = ..., resources: _Optional[_Iterable[_Union[_mesos_pb2.Resource, _Mapping]]] = ..., storage: _Optional[_Union[ResourceProviderState.Storage, _Mapping]] = ...) -> None: ...
