from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Route(_message.Message):
    __slots__ = ("dst", "gw")
    DST_FIELD_NUMBER: _ClassVar[int]
    GW_FIELD_NUMBER: _ClassVar[int]
    dst: str
    gw: str
    def __init__(self, dst: _Optional[str] = ..., gw: _Optional[str] = ...) -> None: ...

class DNS(_message.Message):
    __slots__ = ("nameservers", "domain", "search", "options")
    NAMESERVERS_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    SEARCH_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    nameservers: _containers.RepeatedScalarFieldContainer[str]
    domain: str
    search: _containers.RepeatedScalarFieldContainer[str]
    options: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, nameservers: _Optional[_Iterable[str]] = ..., domain: _Optional[str] = ..., search: _Optional[_Iterable[str]] = ..., options: _Optional[_Iterable[str]] = ...) -> None: ...

class IPConfig(_message.Message):
    __slots__ = ("ip", "gateway", "routes")
    IP_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    ip: str
    gateway: str
    routes: _containers.RepeatedCompositeFieldContainer[Route]
    def __init__(self, ip: _Optional[str] = ..., gateway: _Optional[str] = ..., routes: _Optional[_Iterable[_Union[Route, _Mapping]]] = ...) -> None: ...

class NetworkConfig(_message.Message):
    __slots__ = ("name", "type", "ipam", "dns")
    class IPAM(_message.Message):
        __slots__ = ("type", "routes")
        TYPE_FIELD_NUMBER: _ClassVar[int]
        ROUTES_FIELD_NUMBER: _ClassVar[int]
        type: str
        routes: _containers.RepeatedCompositeFieldContainer[Route]
        def __init__(self, type: _Optional[str] = ..., routes: _Optional[_Iterable[_Union[Route, _Mapping]]] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    IPAM_FIELD_NUMBER: _ClassVar[int]
    DNS_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: str
    ipam: NetworkConfig.IPAM
    dns: DNS
    def __init__(self, name: _Optional[str] = ..., type: _Optional[str] = ..., ipam: _Optional[_Union[NetworkConfig.IPAM, _Mapping]] = ..., dns: _Optional[_Union[DNS, _Mapping]] = ...) -> None: ...

class NetworkInfo(_message.Message):
    __slots__ = ("ip4", "ip6", "dns")
    IP4_FIELD_NUMBER: _ClassVar[int]
    IP6_FIELD_NUMBER: _ClassVar[int]
    DNS_FIELD_NUMBER: _ClassVar[int]
    ip4: IPConfig
    ip6: IPConfig
    dns: DNS
    def __init__(self, ip4: _Optional[_Union[IPConfig, _Mapping]] = ..., ip6: _Optional[_Union[IPConfig, _Mapping]] = ..., dns: _Optional[_Union[DNS, _Mapping]] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("cniVersion", "code", "msg", "details")
    CNIVERSION_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MSG_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    cniVersion: str
    code: int
    msg: str
    details: str
    def __init__(self, cniVersion: _Optional[str] = ..., code: _Optional[int] = ..., msg: _Optional[str] = ..., details: _Optional[str] = ...) -> None: ...
