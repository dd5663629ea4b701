from mesos_compat.pb.mesos import mesos_pb2 as _mesos_pb2
from mesos_compat.pb.mesos.internal.slave.containerizer.mesos.isolators.network.cni import spec_pb2 as _spec_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Firewall(_message.Message):
    __slots__ = ("disabled_endpoints",)
    class DisabledEndpointsRule(_message.Message):
        __slots__ = ("paths",)
        PATHS_FIELD_NUMBER: _ClassVar[int]
        paths: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, paths: _Optional[_Iterable[str]] = ...) -> None: ...
    DISABLED_ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    disabled_endpoints: Firewall.DisabledEndpointsRule
    def __init__(self, disabled_endpoints: _Optional[_Union[Firewall.DisabledEndpointsRule, _Mapping]] = ...) -> None: ...

class ContainerDNSInfo(_message.Message):
    __slots__ = ("mesos", "docker")
    class MesosInfo(_message.Message):
        __slots__ = ("network_mode", "network_name", "dns")
        class NetworkMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
            __slots__ = ()
            UNKNOWN: _ClassVar[ContainerDNSInfo.MesosInfo.NetworkMode]
            HOST: _ClassVar[ContainerDNSInfo.MesosInfo.NetworkMode]
            CNI: _ClassVar[ContainerDNSInfo.MesosInfo.NetworkMode]
        UNKNOWN: ContainerDNSInfo.MesosInfo.NetworkMode
        HOST: ContainerDNSInfo.MesosInfo.NetworkMode
        CNI: ContainerDNSInfo.MesosInfo.NetworkMode
        NETWORK_MODE_FIELD_NUMBER: _ClassVar[int]
        NETWORK_NAME_FIELD_NUMBER: _ClassVar[int]
        DNS_FIELD_NUMBER: _ClassVar[int]
        network_mode: ContainerDNSInfo.MesosInfo.NetworkMode
        network_name: str
        dns: _spec_pb2.DNS
        def __init__(self, network_mode: _Optional[_Union[ContainerDNSInfo.MesosInfo.NetworkMode, str]] = ..., network_name: _Optional[str] = ..., dns: _Optional[_Union[_spec_pb2.DNS, _Mapping]] = ...) -> None: ...
    class DockerInfo(_message.Message):
        __slots__ = ("network_mode", "network_name", "dns")
        class NetworkMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
            __slots__ = ()
            UNKNOWN: _ClassVar[ContainerDNSInfo.DockerInfo.NetworkMode]
            HOST: _ClassVar[ContainerDNSInfo.DockerInfo.NetworkMode]
            BRIDGE: _ClassVar[ContainerDNSInfo.DockerInfo.NetworkMode]
            USER: _ClassVar[ContainerDNSInfo.DockerInfo.NetworkMode]
        UNKNOWN: ContainerDNSInfo.DockerInfo.NetworkMode
        HOST: ContainerDNSInfo.DockerInfo.NetworkMode
        BRIDGE: ContainerDNSInfo.DockerInfo.NetworkMode
        USER: ContainerDNSInfo.DockerInfo.NetworkMode
        class DNS(_message.Message):
            __slots__ = ("nameservers", "search", "options")
            NAMESERVERS_FIELD_NUMBER: _ClassVar[int]
            SEARCH_FIELD_NUMBER: _ClassVar[int]
            OPTIONS_FIELD_NUMBER: _ClassVar[int]
            nameservers: _containers.RepeatedScalarFieldContainer[str]
            search: _containers.RepeatedScalarFieldContainer[str]
            options: _containers.RepeatedScalarFieldContainer[str]
            def __init__(self, nameservers: _Optional[_Iterable[str]] = ..., search: _Optional[_Iterable[str]] = ..., options: _Optional[_Iterable[str]] = ...) -> None: ...
        NETWORK_MODE_FIELD_NUMBER: _ClassVar[int]
        NETWORK_NAME_FIELD_NUMBER: _ClassVar[int]
        DNS_FIELD_NUMBER: _ClassVar[int]
        network_mode: ContainerDNSInfo.DockerInfo.NetworkMode
        network_name: str
        dns: ContainerDNSInfo.DockerInfo.DNS
        def __init__(self, network_mode: _Optional[_Union[ContainerDNSInfo.DockerInfo.NetworkMode, str]] = ..., network_name: _Optional[str] = ..., dns: _Optional[_Union[ContainerDNSInfo.DockerInfo.DNS, _Mapping]] = ...) -> None: ...
    MESOS_FIELD_NUMBER: _ClassVar[int]
    DOCKER_FIELD_NUMBER: _ClassVar[int]
    mesos: _containers.RepeatedCompositeFieldContainer[ContainerDNSInfo.MesosInfo]
    docker: _containers.RepeatedCompositeFieldContainer[ContainerDNSInfo.DockerInfo]
    def __init__(self, mesos: _Optional[_Iterable[_Union[ContainerDNSInfo.MesosInfo, _Mapping]]] = ..., docker: _Optional[_Iterable[_Union[ContainerDNSInfo.DockerInfo, _Mapping]]] = ...) -> None: ...

class SlaveCapabilities(_message.Message):
    __slots__ = ("capabilities",)
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    capabilities: _containers.RepeatedCompositeFieldContainer[_mesos_pb2.SlaveInfo.Capability]
    def __init__(self, capabilities: _Optional[_Iterable[_Union[_mesos_pb2.SlaveInfo.Capability, _Mapping]]] = ...) -> None: ...

class ImageGcConfig(_message.Message):
    __slots__ = ("image_disk_headroom", "image_disk_watch_interval", "excluded_images")
    IMAGE_DISK_HEADROOM_FIELD_NUMBER: _ClassVar[int]
    IMAGE_DISK_WATCH_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_IMAGES_FIELD_NUMBER: _ClassVar[int]
    image_disk_headroom: float
    image_disk_watch_interval: _mesos_pb2.DurationInfo
    excluded_images: _containers.RepeatedCompositeFieldContainer[_mesos_pb2.Image]
    def __init__(self, image_disk_headroom: _Optional[float] = ..., image_disk_watch_interval: _Optional[_Union[_mesos_pb2.DurationInfo, _Mapping]] = ..., excluded_images: _Optional[_Iterable[_Union[_mesos_pb2.Image, _Mapping]]] = ...) -> None: ...
