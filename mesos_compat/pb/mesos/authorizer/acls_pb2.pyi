from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ACL(_message.Message):
    __slots__ = ()
    class Entity(_message.Message):
        __slots__ = ("type", "values")
        class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
            __slots__ = ()
            SOME: _ClassVar[ACL.Entity.Type]
            ANY: _ClassVar[ACL.Entity.Type]
            NONE: _ClassVar[ACL.Entity.Type]
        SOME: ACL.Entity.Type
        ANY: ACL.Entity.Type
        NONE: ACL.Entity.Type
        TYPE_FIELD_NUMBER: _ClassVar[int]
        VALUES_FIELD_NUMBER: _ClassVar[int]
        type: ACL.Entity.Type
        values: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, type: _Optional[_Union[ACL.Entity.Type, str]] = ..., values: _Optional[_Iterable[str]] = ...) -> None: ...
    class RegisterFramework(_message.Message):
        __slots__ = ("principals", "roles")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        ROLES_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        roles: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., roles: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class RunTask(_message.Message):
        __slots__ = ("principals", "users")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        USERS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        users: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., users: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class TeardownFramework(_message.Message):
        __slots__ = ("principals", "framework_principals")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        FRAMEWORK_PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        framework_principals: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., framework_principals: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class ReserveResources(_message.Message):
        __slots__ = ("principals", "roles")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        ROLES_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        roles: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., roles: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class UnreserveResources(_message.Message):
        __slots__ = ("principals", "reserver_principals")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        RESERVER_PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        reserver_principals: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., reserver_principals: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class CreateVolume(_message.Message):
        __slots__ = ("principals", "roles")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        ROLES_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        roles: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., roles: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class DestroyVolume(_message.Message):
        __slots__ = ("principals", "creator_principals")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        CREATOR_PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        creator_principals: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., creator_principals: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class ResizeVolume(_message.Message):
        __slots__ = ("principals", "roles")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        ROLES_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        roles: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., roles: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class GetQuota(_message.Message):
        __slots__ = ("principals", "roles")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        ROLES_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        roles: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., roles: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class UpdateQuota(_message.Message):
        __slots__ = ("principals", "roles")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        ROLES_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        roles: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., roles: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class ViewRole(_message.Message):
        __slots__ = ("principals", "roles")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        ROLES_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        roles: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., roles: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class UpdateWeight(_message.Message):
        __slots__ = ("principals", "roles")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        ROLES_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        roles: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., roles: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class GetEndpoint(_message.Message):
        __slots__ = ("principals", "paths")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        PATHS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        paths: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., paths: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class ViewFramework(_message.Message):
        __slots__ = ("principals", "users")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        USERS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        users: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., users: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class ViewTask(_message.Message):
        __slots__ = ("principals", "users")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        USERS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        users: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., users: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class ViewExecutor(_message.Message):
        __slots__ = ("principals", "users")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        USERS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        users: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., users: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class AccessSandbox(_message.Message):
        __slots__ = ("principals", "users")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        USERS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        users: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., users: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class AccessMesosLog(_message.Message):
        __slots__ = ("principals", "logs")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        LOGS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        logs: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., logs: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class ViewFlags(_message.Message):
        __slots__ = ("principals", "flags")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        FLAGS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        flags: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., flags: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class LaunchNestedContainerAsUser(_message.Message):
        __slots__ = ("principals", "users")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        USERS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        users: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., users: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class LaunchNestedContainerUnderParentWithUser(_message.Message):
        __slots__ = ("principals", "users")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        USERS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        users: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., users: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class LaunchNestedContainerSessionAsUser(_message.Message):
        __slots__ = ("principals", "users")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        USERS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        users: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., users: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class LaunchNestedContainerSessionUnderParentWithUser(_message.Message):
        __slots__ = ("principals", "users")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        USERS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        users: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., users: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class AttachContainerInput(_message.Message):
        __slots__ = ("principals", "users")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        USERS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        users: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., users: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class AttachContainerOutput(_message.Message):
        __slots__ = ("principals", "users")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        USERS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        users: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., users: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class KillNestedContainer(_message.Message):
        __slots__ = ("principals", "users")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        USERS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        users: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., users: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class WaitNestedContainer(_message.Message):
        __slots__ = ("principals", "users")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        USERS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        users: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., users: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class ViewContainer(_message.Message):
        __slots__ = ("principals", "users")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        USERS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        users: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., users: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class RemoveNestedContainer(_message.Message):
        __slots__ = ("principals", "users")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        USERS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        users: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., users: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class SetLogLevel(_message.Message):
        __slots__ = ("principals", "level")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        LEVEL_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        level: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., level: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class RegisterAgent(_message.Message):
        __slots__ = ("principals", "agents")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        AGENTS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        agents: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., agents: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class UpdateMaintenanceSchedule(_message.Message):
        __slots__ = ("principals", "machines")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        MACHINES_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        machines: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., machines: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class GetMaintenanceSchedule(_message.Message):
        __slots__ = ("principals", "machines")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        MACHINES_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        machines: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., machines: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class StartMaintenance(_message.Message):
        __slots__ = ("principals", "machines")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        MACHINES_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        machines: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., machines: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class StopMaintenance(_message.Message):
        __slots__ = ("principals", "machines")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        MACHINES_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        machines: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., machines: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class GetMaintenanceStatus(_message.Message):
        __slots__ = ("principals", "machines")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        MACHINES_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        machines: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., machines: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class DrainAgent(_message.Message):
        __slots__ = ("principals", "agents")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        AGENTS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        agents: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., agents: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class DeactivateAgent(_message.Message):
        __slots__ = ("principals", "agents")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        AGENTS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        agents: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., agents: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class ReactivateAgent(_message.Message):
        __slots__ = ("principals", "agents")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        AGENTS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        agents: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., agents: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class MarkAgentGone(_message.Message):
        __slots__ = ("principals", "agents")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        AGENTS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        agents: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., agents: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class LaunchStandaloneContainer(_message.Message):
        __slots__ = ("principals", "users")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        USERS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        users: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., users: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class KillStandaloneContainer(_message.Message):
        __slots__ = ("principals", "users")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        USERS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        users: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., users: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class WaitStandaloneContainer(_message.Message):
        __slots__ = ("principals", "users")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        USERS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        users: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., users: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class RemoveStandaloneContainer(_message.Message):
        __slots__ = ("principals", "users")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        USERS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        users: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., users: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class ViewStandaloneContainer(_message.Message):
        __slots__ = ("principals", "users")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        USERS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        users: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., users: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class MarkResourceProvidersGone(_message.Message):
        __slots__ = ("principals", "resource_providers")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        RESOURCE_PROVIDERS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        resource_providers: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., resource_providers: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class ModifyResourceProviderConfig(_message.Message):
        __slots__ = ("principals", "resource_providers")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        RESOURCE_PROVIDERS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        resource_providers: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., resource_providers: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class PruneImages(_message.Message):
        __slots__ = ("principals", "images")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        IMAGES_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        images: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., images: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class CreateBlockDisk(_message.Message):
        __slots__ = ("principals", "roles")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        ROLES_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        roles: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., roles: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class DestroyBlockDisk(_message.Message):
        __slots__ = ("principals", "roles")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        ROLES_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        roles: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., roles: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class CreateMountDisk(_message.Message):
        __slots__ = ("principals", "roles")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        ROLES_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        roles: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., roles: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class DestroyMountDisk(_message.Message):
        __slots__ = ("principals", "roles")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        ROLES_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        roles: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., roles: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class DestroyRawDisk(_message.Message):
        __slots__ = ("principals", "roles")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        ROLES_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        roles: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., roles: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    class ViewResourceProvider(_message.Message):
        __slots__ = ("principals", "resource_providers")
        PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
        RESOURCE_PROVIDERS_FIELD_NUMBER: _ClassVar[int]
        principals: ACL.Entity
        resource_providers: ACL.Entity
        def __init__(self, principals: _Optional[_Union[ACL.Entity, _Mapping]] = ..., resource_providers: _Optional[_Union[ACL.Entity, _Mapping]] = ...) -> None: ...
    def __init__(self) -> None: ...

class ACLs(_message.Message):
    __slots__ = ("permissive", "register_frameworks", "run_tasks", "reserve_resources", "unreserve_resources", "create_volumes", "destroy_volumes", "teardown_frameworks", "update_weights", "get_endpoints", "get_quotas", "update_quotas", "view_frameworks", "view_tasks", "view_executors", "access_sandboxes", "access_mesos_logs", "view_roles", "view_flags", "launch_nested_containers_as_user", "launch_nested_containers_under_parent_with_user", "kill_nested_containers", "wait_nested_containers", "launch_nested_container_sessions_as_user", "launch_nested_container_sessions_under_parent_with_user", "attach_containers_input", "attach_containers_output", "view_containers", "set_log_level", "remove_nested_containers", "register_agents", "update_maintenance_schedules", "get_maintenance_schedules", "start_maintenances", "stop_maintenances", "get_maintenance_statuses", "drain_agents", "deactivate_agents", "reactivate_agents", "mark_agents_gone", "launch_standalone_containers", "kill_standalone_containers", "wait_standalone_containers", "remove_standalone_containers", "view_standalone_containers", "modify_resource_provider_configs", "mark_resource_providers_gone", "view_resource_providers", "prune_images", "resize_volumes", "create_block_disks", "destroy_block_disks", "create_mount_disks", "destroy_mount_disks", "destroy_raw_disks")
    PERMISSIVE_FIELD_NUMBER: _ClassVar[int]
    REGISTER_FRAMEWORKS_FIELD_NUMBER: _ClassVar[int]
    RUN_TASKS_FIELD_NUMBER: _ClassVar[int]
    RESERVE_RESOURCES_FIELD_NUMBER: _ClassVar[int]
    UNRESERVE_RESOURCES_FIELD_NUMBER: _ClassVar[int]
    CREATE_VOLUMES_FIELD_NUMBER: _ClassVar[int]
    DESTROY_VOLUMES_FIELD_NUMBER: _ClassVar[int]
    TEARDOWN_FRAMEWORKS_FIELD_NUMBER: _ClassVar[int]
    UPDATE_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    GET_ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    GET_QUOTAS_FIELD_NUMBER: _ClassVar[int]
    UPDATE_QUOTAS_FIELD_NUMBER: _ClassVar[int]
    VIEW_FRAMEWORKS_FIELD_NUMBER: _ClassVar[int]
    VIEW_TASKS_FIELD_NUMBER: _ClassVar[int]
    VIEW_EXECUTORS_FIELD_NUMBER: _ClassVar[int]
    ACCESS_SANDBOXES_FIELD_NUMBER: _ClassVar[int]
    ACCESS_MESOS_LOGS_FIELD_NUMBER: _ClassVar[int]
    VIEW_ROLES_FIELD_NUMBER: _ClassVar[int]
    VIEW_FLAGS_FIELD_NUMBER: _ClassVar[int]
    LAUNCH_NESTED_CONTAINERS_AS_USER_FIELD_NUMBER: _ClassVar[int]
    LAUNCH_NESTED_CONTAINERS_UNDER_PARENT_WITH_USER_FIELD_NUMBER: _ClassVar[int]
    KILL_NESTED_CONTAINERS_FIELD_NUMBER: _ClassVar[int]
    WAIT_NESTED_CONTAINERS_FIELD_NUMBER: _ClassVar[int]
    LAUNCH_NESTED_CONTAINER_SESSIONS_AS_USER_FIELD_NUMBER: _ClassVar[int]
    LAUNCH_NESTED_CONTAINER_SESSIONS_UNDER_PARENT_WITH_USER_FIELD_NUMBER: _ClassVar[int]
    ATTACH_CONTAINERS_INPUT_FIELD_NUMBER: _ClassVar[int]
    ATTACH_CONTAINERS_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    VIEW_CONTAINERS_FIELD_NUMBER: _ClassVar[int]
    SET_LOG_LEVEL_FIELD_NUMBER: _ClassVar[int]
    REMOVE_NESTED_CONTAINERS_FIELD_NUMBER: _ClassVar[int]
    REGISTER_AGENTS_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MAINTENANCE_SCHEDULES_FIELD_NUMBER: _ClassVar[int]
    GET_MAINTENANCE_SCHEDULES_FIELD_NUMBER: _ClassVar[int]
    START_MAINTENANCES_FIELD_NUMBER: _ClassVar[int]
    STOP_MAINTENANCES_FIELD_NUMBER: _ClassVar[int]
    GET_MAINTENANCE_STATUSES_FIELD_NUMBER: _ClassVar[int]
    DRAIN_AGENTS_FIELD_NUMBER: _ClassVar[int]
    DEACTIVATE_AGENTS_FIELD_NUMBER: _ClassVar[int]
    REACTIVATE_AGENTS_FIELD_NUMBER: _ClassVar[int]
    MARK_AGENTS_GONE_FIELD_NUMBER: _ClassVar[int]
    LAUNCH_STANDALONE_CONTAINERS_FIELD_NUMBER: _ClassVar[int]
    KILL_STANDALONE_CONTAINERS_FIELD_NUMBER: _ClassVar[int]
    WAIT_STANDALONE_CONTAINERS_FIELD_NUMBER: _ClassVar[int]
    REMOVE_STANDALONE_CONTAINERS_FIELD_NUMBER: _ClassVar[int]
    VIEW_STANDALONE_CONTAINERS_FIELD_NUMBER: _ClassVar[int]
    MODIFY_RESOURCE_PROVIDER_CONFIGS_FIELD_NUMBER: _ClassVar[int]
    MARK_RESOURCE_PROVIDERS_GONE_FIELD_NUMBER: _ClassVar[int]
    VIEW_RESOURCE_PROVIDERS_FIELD_NUMBER: _ClassVar[int]
    PRUNE_IMAGES_FIELD_NUMBER: _ClassVar[int]
    RESIZE_VOLUMES_FIELD_NUMBER: _ClassVar[int]
    CREATE_BLOCK_DISKS_FIELD_NUMBER: _ClassVar[int]
    DESTROY_BLOCK_DISKS_FIELD_NUMBER: _ClassVar[int]
    CREATE_MOUNT_DISKS_FIELD_NUMBER: _ClassVar[int]
    DESTROY_MOUNT_DISKS_FIELD_NUMBER: _ClassVar[int]
    DESTROY_RAW_DISKS_FIELD_NUMBER: _ClassVar[int]
    permissive: bool
    register_frameworks: _containers.RepeatedCompositeFieldContainer[ACL.RegisterFramework]
    run_tasks: _containers.RepeatedCompositeFieldContainer[ACL.RunTask]
    reserve_resources: _containers.RepeatedCompositeFieldContainer[ACL.ReserveResources]
    unreserve_resources: _containers.RepeatedCompositeFieldContainer[ACL.UnreserveResources]
    create_volumes: _containers.RepeatedCompositeFieldContainer[ACL.CreateVolume]
    destroy_volumes: _containers.RepeatedCompositeFieldContainer[ACL.DestroyVolume]
    teardown_frameworks: _containers.RepeatedCompositeFieldContainer[ACL.TeardownFramework]
    update_weights: _containers.RepeatedCompositeFieldContainer[ACL.UpdateWeight]
    get_endpoints: _containers.RepeatedCompositeFieldContainer[ACL.GetEndpoint]
    get_quotas: _containers.RepeatedCompositeFieldContainer[ACL.GetQuota]
    update_quotas: _containers.RepeatedCompositeFieldContainer[ACL.UpdateQuota]
    view_frameworks: _containers.RepeatedCompositeFieldContainer[ACL.ViewFramework]
    view_tasks: _containers.RepeatedCompositeFieldContainer[ACL.ViewTask]
    view_executors: _containers.RepeatedCompositeFieldContainer[ACL.ViewExecutor]
    access_sandboxes: _containers.RepeatedCompositeFieldContainer[ACL.AccessSandbox]
    access_mesos_logs: _containers.RepeatedCompositeFieldContainer[ACL.AccessMesosLog]
    view_roles: _containers.RepeatedCompositeFieldContainer[ACL.ViewRole]
    view_flags: _containers.RepeatedCompositeFieldContainer[ACL.ViewFlags]
    launch_nested_containers_as_user: _containers.RepeatedCompositeFieldContainer[ACL.LaunchNestedContainerAsUser]
    launch_nested_containers_under_parent_with_user: _containers.RepeatedCompositeFieldContainer[ACL.LaunchNestedContainerUnderParentWithUser]
    kill_nested_containers: _containers.RepeatedCompositeFieldContainer[ACL.KillNestedContainer]
    wait_nested_containers: _containers.RepeatedCompositeFieldContainer[ACL.WaitNestedContainer]
    launch_nested_container_sessions_as_user: _containers.RepeatedCompositeFieldContainer[ACL.LaunchNestedContainerSessionAsUser]
    launch_nested_container_sessions_under_parent_with_user: _containers.RepeatedCompositeFieldContainer[ACL.LaunchNestedContainerSessionUnderParentWithUser]
    attach_containers_input: _containers.RepeatedCompositeFieldContainer[ACL.AttachContainerInput]
    attach_containers_output: _containers.RepeatedCompositeFieldContainer[ACL.AttachContainerOutput]
    view_containers: _containers.RepeatedCompositeFieldContainer[ACL.ViewContainer]
    set_log_level: _containers.RepeatedCompositeFieldContainer[ACL.SetLogLevel]
    remove_nested_containers: _containers.RepeatedCompositeFieldContainer[ACL.RemoveNestedContainer]
    register_agents: _containers.RepeatedCompositeFieldContainer[ACL.RegisterAgent]
    update_maintenance_schedules: _containers.RepeatedCompositeFieldContainer[ACL.UpdateMaintenanceSchedule]
    get_maintenance_schedules: _containers.RepeatedCompositeFieldContainer[ACL.GetMaintenanceSchedule]
    start_maintenances: _containers.RepeatedCompositeFieldContainer[ACL.StartMaintenance]
    stop_maintenances: _containers.RepeatedCompositeFieldContainer[ACL.StopMaintenance]
    get_maintenance_statuses: _containers.RepeatedCompositeFieldContainer[ACL.GetMaintenanceStatus]
    drain_agents: _containers.RepeatedCompositeFieldContainer[ACL.DrainAgent]
    deactivate_agents: _containers.RepeatedCompositeFieldContainer[ACL.DeactivateAgent]
    reactivate_agents: _containers.RepeatedCompositeFieldContainer[ACL.ReactivateAgent]
    mark_agents_gone: _containers.RepeatedCompositeFieldContainer[ACL.MarkAgentGone]
    launch_standalone_containers: _containers.RepeatedCompositeFieldContainer[ACL.LaunchStandaloneContainer]
    kill_standalone_containers: _containers.RepeatedCompositeFieldContainer[ACL.KillStandaloneContainer]
    wait_standalone_containers: _containers.RepeatedCompositeFieldContainer[ACL.WaitStandaloneContainer]
    remove_standalone_containers: _containers.RepeatedCompositeFieldContainer[ACL.RemoveStandaloneContainer]
    view_standalone_containers: _containers.RepeatedCompositeFieldContainer[ACL.ViewStandaloneContainer]
    modify_resource_provider_configs: _containers.RepeatedCompositeFieldContainer[ACL.ModifyResourceProviderConfig]
    mark_resource_providers_gone: _containers.RepeatedCompositeFieldContainer[ACL.MarkResourceProvidersGone]
    view_resource_providers: _containers.RepeatedCompositeFieldContainer[ACL.ViewResourceProvider]
    prune_images: _containers.RepeatedCompositeFieldContainer[ACL.PruneImages]
    resize_volumes: _containers.RepeatedCompositeFieldContainer[ACL.ResizeVolume]
    create_block_disks: _containers.RepeatedCompositeFieldContainer[ACL.CreateBlockDisk]
    destroy_block_disks: _containers.RepeatedCompositeFieldContainer[ACL.DestroyBlockDisk]
    create_mount_disks: _containers.RepeatedCompositeFieldContainer[ACL.CreateMountDisk]
    destroy_mount_disks: _containers.RepeatedCompositeFieldContainer[ACL.DestroyMountDisk]
    destroy_raw_disks: _containers.RepeatedCompositeFieldContainer[ACL.DestroyRawDisk]
    def __init__(self, permissive: _Optional[bool] = ..., register_frameworks: _Optional[_Iterable[_Union[ACL.RegisterFramework, _Mapping]]] = ..., run_tasks: _Optional[_Iterable[_Union[ACL.RunTask, _Mapping]]] = ..., reserve_resources: _Optional[_Iterable[_Union[ACL.ReserveResources, _Mapping]]] = ..., unreserve_resources: _Optional[_Iterable[_Union[ACL.UnreserveResources, _Mapping]]] = ..., create_volumes: _Optional[_Iterable[_Union[ACL.CreateVolume, _Mapping]]] = ..., destroy_volumes: _Optional[_Iterable[_Union[ACL.DestroyVolume, _Mapping]]] = ..., teardown_frameworks: _Optional[_Iterable[_Union[ACL.TeardownFramework, _Mapping]]] = ..., update_weights: _Optional[_Iterable[_Union[ACL.UpdateWeight, _Mapping]]] = ..., get_endpoints: _Optional[_Iterable[_Union[ACL.GetEndpoint, _Mapping]]] = ..., get_quotas: _Optional[_Iterable[_Union[ACL.GetQuota, _Mapping]]] = ..., update_quotas: _Optional[_Iterable[_Union[ACL.UpdateQuota, _Mapping]]] = ..., view_frameworks: _Optional[_Iterable[_Union[ACL.ViewFramework, _Mapping]]] = ..., view_tasks: _Optional[_Iterable[_Union[ACL.ViewTask, _Mapping]]] = ..., view_executors: _Optional[_Iterable[_Union[ACL.ViewExecutor, _Mapping]]] = ..., access_sandboxes: _Optional[_Iterable[_Union[ACL.AccessSandbox, _Mapping]]] = ..., access_mesos_logs: _Optional[_Iterable[_Union[ACL.AccessMesosLog, _Mapping]]] = ..., view_roles: _Optional[_Iterable[_Union[ACL.ViewRole, _Mapping]]] = ..., view_flags: _Optional[_Iterable[_Union[ACL.ViewFlags, _Mapping]]] = ..., launch_nested_containers_as_user: _Optional[_Iterable[_Union[ACL.LaunchNestedContainerAsUser, _Mapping]]] = ..., launch_nested_containers_under_parent_with_user: _Optional[_Iterable[_Union[ACL.LaunchNestedContainerUnderParentWithUser, _Mapping]]] = ..., kill_nested_containers: _Optional[_Iterable[_Union[ACL.KillNestedContainer, _Mapping]]] = ..., wait_nested_containers: _Optional[_Iterable[_Union[ACL.WaitNestedContainer, _Mapping]]] = ..., launch_nested_container_sessions_as_user: _Optional[_Iterable[_Union[ACL.LaunchNestedContainerSessionAsUser, _Mapping]]] = ..., launch_nested_container_sessions_under_parent_with_user: _Optional[_Iterable[_Union[ACL.LaunchNestedContainerSessionUnderParentWithUser, _Mapping]]] = ..., attach_containers_input: _Optional[_Iterable[_Union[ACL.AttachContainerInput, _Mapping]]] = ..., attach_containers_output: _Optional[_Iterable[_Union[ACL.AttachContainerOutput, _Mapping]]] = ..., view_containers: _Optional[_Iterable[_Union[ACL.ViewContainer, _Mapping]]] = ..., set_log_level: _Optional[_Iterable[_Union[ACL.SetLogLevel, _Mapping]]] = ..., remove_nested_containers: _Optional[_Iterable[_Union[ACL.RemoveNestedContainer, _Mapping]]] = ..., register_agents: _Optional[_Iterable[_Union[ACL.RegisterAgent, _Mapping]]] = ..., update_maintenance_schedules: _Optional[_Iterable[_Union[ACL.UpdateMaintenanceSchedule, _Mapping]]] = ..., get_maintenance_schedules: _Optional[_Iterable[_Union[ACL.GetMaintenanceSchedule, _Mapping]]] = ..., start_maintenances: _Optional[_Iterable[_Union[ACL.StartMaintenance, _Mapping]]] = ..., stop_maintenances: _Optional[_Iterable[_Union[ACL.StopMaintenance, _Mapping]]] = ..., get_maintenance_statuses: _Optional[_Iterable[_Union[ACL.GetMaintenanceStatus, _Mapping]]] = ..., drain_agents: _Optional[_Iterable[_Union[ACL.DrainAgent, _Mapping]]] = ..., deactivate_agents: _Optional[_Iterable[_Union[ACL.DeactivateAgent, _Mapping]]] = ..., reactivate_agents: _Optional[_Iterable[_Union[ACL.ReactivateAgent, _Mapping]]] = ..., mark_agents_gone: _Optional[_Iterable[_Union[ACL.MarkAgentGone, _Mapping]]] = ..., launch_standalone_containers: _Optional[_Iterable[_Union[ACL.LaunchStandaloneContainer, _Mapping]]] = ..., kill_standalone_containers: _Optional[_Iterable[_Union[ACL.KillStandaloneContainer, _Mapping]]] = ..., wait_standalone_containers: _Optional[_Iterable[_Union[ACL.WaitStandaloneContainer, _Mapping]]] = ..., remove_standalone_containers: _Optional[_Iterable[_Union[ACL.RemoveStandaloneContainer, _Mapping]]] = ..., view_standalone_containers: _Optional[_Iterable[_Union[ACL.ViewStandaloneContainer, _Mapping]]] = ..., modify_resource_provider_configs: _Optional[_Iterable[_Union[ACL.ModifyResourceProviderConfig, _Mapping]]] = ..., mark_resource_providers_gone: _Optional[_Iterable[_Union[ACL.MarkResourceProvidersGone, _Mapping]]] = ..., view_resource_providers: _Optional[_Iterable[_Union[ACL.ViewResourceProvider, _Mapping]]] = ..., prune_images: _Optional[_Iterable[_Union[ACL.PruneImages, _Mapping]]] = ..., resize_volumes: _Optional[_Iterable[_Union[ACL.ResizeVolume, _Mapping]]] = ..., create_block_disks: _Optional[_Iterable[_Union[ACL.CreateBlockDisk, _Mapping]]] = ..., destroy_block_disks: _Optional[_Iterable[_Union[ACL.DestroyBlockDisk, _Mapping]]] = ..., create_mount_disks: _Optional[_Iterable[_Union[ACL.CreateMountDisk, _Mapping]]] = ..., destroy_mount_disks: _Optional[_Iterable[_Union[ACL.DestroyMountDisk, _Mapping]]] = ..., destroy_raw_disks: _Optional[_Iterable[_Union[ACL.DestroyRawDisk, _Mapping]]] = ...) -> None: ...
