//! The operations as the generated trait wants them; each line names the file that does the work.

use gantry_api::{
    Caller, Fault,
    ecs::{Ecs, *},
};

use crate::{Control, operations};

/// ECS, answered by this control plane.
#[derive(Debug, Clone)]
pub struct EcsService {
    control: Control,
}

impl EcsService {
    /// The service over `control`.
    pub fn new(control: Control) -> Self {
        Self { control }
    }
}

macro_rules! delegate {
    ($($operation:ident: $input:ty => $output:ty,)*) => {
        impl Ecs for EcsService {
            $(
                async fn $operation(&self, caller: &Caller, input: $input) -> Result<$output, Fault> {
                    operations::$operation::run(&self.control, caller, input).await
                }
            )*
        }
    };
}

delegate! {
    create_cluster: CreateClusterRequest => CreateClusterResponse,
    delete_cluster: DeleteClusterRequest => DeleteClusterResponse,
    describe_clusters: DescribeClustersRequest => DescribeClustersResponse,
    list_clusters: ListClustersRequest => ListClustersResponse,
    update_cluster: UpdateClusterRequest => UpdateClusterResponse,
    update_cluster_settings: UpdateClusterSettingsRequest => UpdateClusterSettingsResponse,
    put_cluster_capacity_providers: PutClusterCapacityProvidersRequest => PutClusterCapacityProvidersResponse,
    create_capacity_provider: CreateCapacityProviderRequest => CreateCapacityProviderResponse,
    update_capacity_provider: UpdateCapacityProviderRequest => UpdateCapacityProviderResponse,
    delete_capacity_provider: DeleteCapacityProviderRequest => DeleteCapacityProviderResponse,
    describe_capacity_providers: DescribeCapacityProvidersRequest => DescribeCapacityProvidersResponse,
    register_task_definition: RegisterTaskDefinitionRequest => RegisterTaskDefinitionResponse,
    deregister_task_definition: DeregisterTaskDefinitionRequest => DeregisterTaskDefinitionResponse,
    describe_task_definition: DescribeTaskDefinitionRequest => DescribeTaskDefinitionResponse,
    list_task_definitions: ListTaskDefinitionsRequest => ListTaskDefinitionsResponse,
    list_task_definition_families: ListTaskDefinitionFamiliesRequest => ListTaskDefinitionFamiliesResponse,
    delete_task_definitions: DeleteTaskDefinitionsRequest => DeleteTaskDefinitionsResponse,
    run_task: RunTaskRequest => RunTaskResponse,
    start_task: StartTaskRequest => StartTaskResponse,
    stop_task: StopTaskRequest => StopTaskResponse,
    describe_tasks: DescribeTasksRequest => DescribeTasksResponse,
    list_tasks: ListTasksRequest => ListTasksResponse,
    create_service: CreateServiceRequest => CreateServiceResponse,
    update_service: UpdateServiceRequest => UpdateServiceResponse,
    delete_service: DeleteServiceRequest => DeleteServiceResponse,
    describe_services: DescribeServicesRequest => DescribeServicesResponse,
    list_services: ListServicesRequest => ListServicesResponse,
    list_services_by_namespace: ListServicesByNamespaceRequest => ListServicesByNamespaceResponse,
    describe_service_deployments: DescribeServiceDeploymentsRequest => DescribeServiceDeploymentsResponse,
    list_service_deployments: ListServiceDeploymentsRequest => ListServiceDeploymentsResponse,
    describe_service_revisions: DescribeServiceRevisionsRequest => DescribeServiceRevisionsResponse,
    create_task_set: CreateTaskSetRequest => CreateTaskSetResponse,
    describe_task_sets: DescribeTaskSetsRequest => DescribeTaskSetsResponse,
    update_task_set: UpdateTaskSetRequest => UpdateTaskSetResponse,
    delete_task_set: DeleteTaskSetRequest => DeleteTaskSetResponse,
    update_service_primary_task_set: UpdateServicePrimaryTaskSetRequest => UpdateServicePrimaryTaskSetResponse,
    continue_service_deployment: ContinueServiceDeploymentRequest => ContinueServiceDeploymentResponse,
    stop_service_deployment: StopServiceDeploymentRequest => StopServiceDeploymentResponse,
    register_daemon_task_definition: RegisterDaemonTaskDefinitionRequest => RegisterDaemonTaskDefinitionResponse,
    describe_daemon_task_definition: DescribeDaemonTaskDefinitionRequest => DescribeDaemonTaskDefinitionResponse,
    delete_daemon_task_definition: DeleteDaemonTaskDefinitionRequest => DeleteDaemonTaskDefinitionResponse,
    list_daemon_task_definitions: ListDaemonTaskDefinitionsRequest => ListDaemonTaskDefinitionsResponse,
    create_daemon: CreateDaemonRequest => CreateDaemonResponse,
    update_daemon: UpdateDaemonRequest => UpdateDaemonResponse,
    delete_daemon: DeleteDaemonRequest => DeleteDaemonResponse,
    describe_daemon: DescribeDaemonRequest => DescribeDaemonResponse,
    list_daemons: ListDaemonsRequest => ListDaemonsResponse,
    list_daemon_deployments: ListDaemonDeploymentsRequest => ListDaemonDeploymentsResponse,
    describe_daemon_deployments: DescribeDaemonDeploymentsRequest => DescribeDaemonDeploymentsResponse,
    describe_daemon_revisions: DescribeDaemonRevisionsRequest => DescribeDaemonRevisionsResponse,
    execute_command: ExecuteCommandRequest => ExecuteCommandResponse,
    get_task_protection: GetTaskProtectionRequest => GetTaskProtectionResponse,
    update_task_protection: UpdateTaskProtectionRequest => UpdateTaskProtectionResponse,
    register_container_instance: RegisterContainerInstanceRequest => RegisterContainerInstanceResponse,
    deregister_container_instance: DeregisterContainerInstanceRequest => DeregisterContainerInstanceResponse,
    describe_container_instances: DescribeContainerInstancesRequest => DescribeContainerInstancesResponse,
    list_container_instances: ListContainerInstancesRequest => ListContainerInstancesResponse,
    update_container_instances_state: UpdateContainerInstancesStateRequest => UpdateContainerInstancesStateResponse,
    update_container_agent: UpdateContainerAgentRequest => UpdateContainerAgentResponse,
    submit_task_state_change: SubmitTaskStateChangeRequest => SubmitTaskStateChangeResponse,
    submit_container_state_change: SubmitContainerStateChangeRequest => SubmitContainerStateChangeResponse,
    submit_attachment_state_changes: SubmitAttachmentStateChangesRequest => SubmitAttachmentStateChangesResponse,
    discover_poll_endpoint: DiscoverPollEndpointRequest => DiscoverPollEndpointResponse,
    put_attributes: PutAttributesRequest => PutAttributesResponse,
    delete_attributes: DeleteAttributesRequest => DeleteAttributesResponse,
    list_attributes: ListAttributesRequest => ListAttributesResponse,
    tag_resource: TagResourceRequest => TagResourceResponse,
    untag_resource: UntagResourceRequest => UntagResourceResponse,
    list_tags_for_resource: ListTagsForResourceRequest => ListTagsForResourceResponse,
    put_account_setting: PutAccountSettingRequest => PutAccountSettingResponse,
    put_account_setting_default: PutAccountSettingDefaultRequest => PutAccountSettingDefaultResponse,
    delete_account_setting: DeleteAccountSettingRequest => DeleteAccountSettingResponse,
    list_account_settings: ListAccountSettingsRequest => ListAccountSettingsResponse,
}
