//! Gantry's own calls, for what the operator's commands show and the AWS APIs have no operation for.
//!
//! `POST /gantry/NAME` with a JSON body, signed with Signature Version 4 like a call of the service the data belongs
//! to, and allowed to whoever may do the action that is named here. Errors look like those of the AWS JSON APIs.

use gantry_api::{Caller, Fault, OperationInfo, ServiceInfo, ecr, ecs};
use gantry_companions::{
    application_autoscaling::{AutoScaling, NamedDefinition},
    events::{EventBridge, LoggedEvent, ReplayRequest},
    machines::{MachineView, Machines},
};
use gantry_control::{Control, alarms, metrics};
use gantry_protocol::endpoint::Endpoint;
use gantry_registry::{
    Registry,
    collect::{Collected, CollectedPage, Doing},
    digest::Digest,
    history::HistoryEntry,
    signing::{ProfileArn, SigningKeyError},
    verify::Depth,
};
use http::request::Parts;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::sync::Arc;

/// Largest body of a call.
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024;
/// Entries of one page.
const PAGE_SIZE_MAX: usize = 1000;

/// What is of no AWS service. Signed for `gantry`; its actions are `gantry:NAME`.
pub(crate) static GANTRY: ServiceInfo = ServiceInfo {
    name: "gantry",
    signing_name: "gantry",
    target_prefix: "Gantry",
    api_version: "",
    query: false,
    rest: &[],
    xml_namespace: "",
    validation_code: "ValidationException",
    operations: &[
        OperationInfo { name: "CollectGarbage", members: &[], result_wrapper: "", errors: &[] },
        OperationInfo { name: "CreateJoinToken", members: &[], result_wrapper: "", errors: &[] },
        OperationInfo { name: "ListAlarms", members: &[], result_wrapper: "", errors: &[] },
        OperationInfo { name: "ListEvents", members: &[], result_wrapper: "", errors: &[] },
        OperationInfo { name: "ListJoinTokens", members: &[], result_wrapper: "", errors: &[] },
        OperationInfo { name: "RevokeJoinToken", members: &[], result_wrapper: "", errors: &[] },
        OperationInfo { name: "ListMachines", members: &[], result_wrapper: "", errors: &[] },
        OperationInfo { name: "RevokeMachine", members: &[], result_wrapper: "", errors: &[] },
        OperationInfo { name: "SetAlarmState", members: &[], result_wrapper: "", errors: &[] },
        OperationInfo { name: "VerifyRegistry", members: &[], result_wrapper: "", errors: &[] },
    ],
};

/// What the calls read and act on.
pub(crate) struct Own {
    pub(crate) control: Control,
    pub(crate) registry: Arc<Registry>,
    pub(crate) events: EventBridge,
    pub(crate) scaling: AutoScaling,
    pub(crate) machines: Machines,
    /// The operator's account: only it may look at, or act on, the registry of every account.
    pub(crate) account: String,
}

/// `events`: the newest events, or those after a position.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventsRequest {
    pub(crate) after: Option<u64>,
    pub(crate) limit: Option<usize>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EventsResponse {
    pub(crate) events: Vec<LoggedEvent>,
}

/// `image-history`: where tags pointed.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HistoryRequest {
    pub(crate) repository: String,
    pub(crate) tag: Option<String>,
    pub(crate) next: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HistoryResponse {
    pub(crate) entries: Vec<HistoryEntry>,
    pub(crate) next: Option<String>,
}

/// `lifecycle-run`: runs a repository's lifecycle policy now; answers with the registry's report.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LifecycleRunRequest {
    pub(crate) repository: String,
}

/// `verify-registry`: some of the check of the whole registry, from where `after` says.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerifyRequest {
    pub(crate) after: Option<String>,
    /// Presence and length only, no content.
    #[serde(default)]
    pub(crate) quick: bool,
}

/// `collect-garbage`: some of a pass of the collector, from where `after` says.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CollectRequest {
    pub(crate) after: Option<Digest>,
    /// Count what would go, and leave it.
    #[serde(default)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CollectResponse {
    pub(crate) collected: Collected,
    pub(crate) next: Option<Digest>,
}

/// `signing-certificate`: what the signatures of a signing profile are verified with.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SigningCertificateRequest {
    pub(crate) profile: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SigningCertificateResponse {
    /// PEM.
    pub(crate) certificate: String,
}

/// `set-alarm-state`: says how an alarm stands; one that is not there is made.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetAlarmRequest {
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) reason: Option<String>,
}

/// `list-alarms`: the alarms after a name, in the order of their names.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListAlarmsRequest {
    pub(crate) after: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ListAlarmsResponse {
    pub(crate) alarms: Vec<alarms::NamedAlarm>,
}

/// `delete-alarm`: removes an alarm that `put-alarm` made.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeleteAlarmRequest {
    pub(crate) name: String,
}

/// `top`: what a cluster uses.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TopRequest {
    pub(crate) cluster: Option<String>,
}

/// The answer of a call that has nothing to say.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Empty {}

/// `revoke-join-token` and `revoke-machine`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevokeRequest {
    pub(crate) id: String,
}

/// `list-machines`: the machines after an id, in the order of their ids.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListMachinesRequest {
    pub(crate) after: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ListMachinesResponse {
    pub(crate) machines: Vec<MachineView>,
}

impl Own {
    /// Answers one call with the JSON of its response.
    pub(crate) async fn call(
        &self,
        endpoint: &Endpoint,
        parts: &Parts,
        body: &[u8],
        request_id: &str,
    ) -> Result<Vec<u8>, Fault> {
        let name = parts.uri.path().strip_prefix("/gantry/").unwrap_or_default();
        match (parts.method.as_str(), name) {
            ("POST", "events") => {
                let all = |_: &Caller| "*".to_owned();
                let caller = endpoint.admit(parts, body, &GANTRY, request_id, "gantry:ListEvents", all)?;
                encode(&self.events(&caller, decode(body)?).await?)
            }
            ("POST", "events-replay") => {
                let input: ReplayRequest = decode(body)?;
                let rule = |caller: &Caller| caller.arn("events", &format!("rule/{}", input.rule));
                let action = "events:StartReplay";
                let caller = endpoint.admit(parts, body, &gantry_api::events::SERVICE, request_id, action, rule)?;
                encode(&self.events.replay(&caller, &input).await?)
            }
            // The registry decides by itself who may do what there.
            ("POST", "image-history") => {
                let input: HistoryRequest = decode(body)?;
                let repository = |caller: &Caller| caller.arn("ecr", &format!("repository/{}", input.repository));
                let action = "ecr:DescribeImages";
                let caller = endpoint.admit(parts, body, &ecr::SERVICE, request_id, action, repository)?;
                encode(&self.history(&caller, input).await?)
            }
            ("POST", "lifecycle-run") => {
                let LifecycleRunRequest { repository } = decode(body)?;
                let resource = |caller: &Caller| caller.arn("ecr", &format!("repository/{repository}"));
                let action = "ecr:PutLifecyclePolicy";
                let caller = endpoint.admit(parts, body, &ecr::SERVICE, request_id, action, resource)?;
                let keys = self.registry.repository_allowed(&caller, "PutLifecyclePolicy", &repository).await?;
                encode(&self.registry.lifecycle_run(&keys).await?)
            }
            ("POST", "verify-registry") => {
                let all = |_: &Caller| "*".to_owned();
                let caller = endpoint.admit(parts, body, &GANTRY, request_id, "gantry:VerifyRegistry", all)?;
                self.check_operator(&caller, "VerifyRegistry")?;
                let input: VerifyRequest = decode(body)?;
                let depth = if input.quick { Depth::Sizes } else { Depth::Contents };
                encode(&self.registry.verify(input.after.as_deref(), depth).await?)
            }
            ("POST", "collect-garbage") => {
                let all = |_: &Caller| "*".to_owned();
                let caller = endpoint.admit(parts, body, &GANTRY, request_id, "gantry:CollectGarbage", all)?;
                self.check_operator(&caller, "CollectGarbage")?;
                let input: CollectRequest = decode(body)?;
                let doing = if input.dry_run { Doing::Looking } else { Doing::Removing };
                let CollectedPage { collected, next } = self.registry.collect_page(input.after.as_ref(), doing).await?;
                encode(&CollectResponse { collected, next })
            }
            // There is no Signer; what may be done with its profiles is still said with its actions.
            ("POST", "signing-certificate") => {
                let SigningCertificateRequest { profile } = decode(body)?;
                let resource = |_: &Caller| profile.clone();
                let action = "signer:GetSigningProfile";
                let caller = endpoint.admit(parts, body, &ecr::SERVICE, request_id, action, resource)?;
                encode(&self.signing_certificate(&caller, &profile).await?)
            }
            // There is no CloudWatch; what may be done to its alarms is still said with its actions.
            ("POST", "set-alarm-state") => {
                let input: SetAlarmRequest = decode(body)?;
                let alarm = |caller: &Caller| caller.arn("cloudwatch", &format!("alarm:{}", input.name));
                let action = "cloudwatch:SetAlarmState";
                let caller = endpoint.admit(parts, body, &GANTRY, request_id, action, alarm)?;
                let SetAlarmRequest { name, state, reason } = input;
                alarms::set(&self.control, &caller, &name, &state, reason).await?;
                encode(&Empty {})
            }
            ("POST", "list-alarms") => {
                let all = |_: &Caller| "*".to_owned();
                let caller = endpoint.admit(parts, body, &GANTRY, request_id, "cloudwatch:DescribeAlarms", all)?;
                let ListAlarmsRequest { after } = decode(body)?;
                encode(&ListAlarmsResponse {
                    alarms: alarms::list(&self.control, &caller, after.as_deref(), PAGE_SIZE_MAX),
                })
            }
            ("POST", "put-alarm") => {
                let input: NamedDefinition = decode(body)?;
                let alarm = |caller: &Caller| caller.arn("cloudwatch", &format!("alarm:{}", input.name));
                let action = "cloudwatch:PutMetricAlarm";
                let caller = endpoint.admit(parts, body, &GANTRY, request_id, action, alarm)?;
                self.scaling.put_alarm(&caller, input).await?;
                encode(&Empty {})
            }
            ("POST", "delete-alarm") => {
                let DeleteAlarmRequest { name } = decode(body)?;
                let alarm = |caller: &Caller| caller.arn("cloudwatch", &format!("alarm:{name}"));
                let action = "cloudwatch:DeleteAlarms";
                let caller = endpoint.admit(parts, body, &GANTRY, request_id, action, alarm)?;
                self.scaling.delete_alarm(&caller, &name).await?;
                encode(&Empty {})
            }
            ("POST", "top") => {
                let TopRequest { cluster } = decode(body)?;
                let name = cluster.as_deref().unwrap_or("default");
                let name = name.rsplit('/').next().unwrap_or_default();
                let resource = |caller: &Caller| caller.arn("ecs", &format!("cluster/{name}"));
                let action = "ecs:DescribeClusters";
                let caller = endpoint.admit(parts, body, &ecs::SERVICE, request_id, action, resource)?;
                encode(&metrics::top(&self.control, &caller, Some(name))?)
            }
            ("POST", "create-join-token" | "list-join-tokens" | "revoke-join-token") => {
                let action = match name {
                    "create-join-token" => "gantry:CreateJoinToken",
                    "list-join-tokens" => "gantry:ListJoinTokens",
                    _ => "gantry:RevokeJoinToken",
                };
                let all = |_: &Caller| "*".to_owned();
                let caller = endpoint.admit(parts, body, &GANTRY, request_id, action, all)?;
                match name {
                    "create-join-token" => encode(&self.machines.create_token(&caller, decode(body)?).await?),
                    "list-join-tokens" => encode(&self.machines.tokens(&caller)),
                    _ => {
                        let RevokeRequest { id } = decode(body)?;
                        self.machines.revoke_token(&caller, &id).await?;
                        encode(&Empty {})
                    }
                }
            }
            ("POST", "list-machines") => {
                let all = |_: &Caller| "*".to_owned();
                let caller = endpoint.admit(parts, body, &GANTRY, request_id, "gantry:ListMachines", all)?;
                let ListMachinesRequest { after } = decode(body)?;
                let machines = self.machines.list(&caller, after.as_deref(), PAGE_SIZE_MAX);
                encode(&ListMachinesResponse { machines })
            }
            ("POST", "revoke-machine") => {
                let all = |_: &Caller| "*".to_owned();
                let caller = endpoint.admit(parts, body, &GANTRY, request_id, "gantry:RevokeMachine", all)?;
                let RevokeRequest { id } = decode(body)?;
                self.machines.revoke(&caller, &id).await?;
                encode(&Empty {})
            }
            _ => Err(Fault::new("UnknownOperationException", 404, format!("Gantry has no call {name}."))),
        }
    }

    /// What these calls show and do goes beyond one account.
    fn check_operator(&self, caller: &Caller, action: &str) -> Result<(), Fault> {
        if caller.account == self.account {
            return Ok(());
        }
        let message = format!(
            "User: {} is not authorized to perform: gantry:{action} because it belongs to the operator's account",
            caller.principal_arn
        );
        Err(Fault::new("AccessDeniedException", 400, message))
    }

    async fn events(&self, caller: &Caller, input: EventsRequest) -> Result<EventsResponse, Fault> {
        let limit = input.limit.unwrap_or(PAGE_SIZE_MAX).min(PAGE_SIZE_MAX);
        let page = self.events.page(&caller.account, &caller.region, input.after, limit).await;
        Ok(EventsResponse { events: page.map_err(|error| internal().caused_by(error))? })
    }

    async fn signing_certificate(&self, caller: &Caller, profile: &str) -> Result<SigningCertificateResponse, Fault> {
        let arn: ProfileArn = profile.parse().map_err(|error: SigningKeyError| validation(error.to_string()))?;
        if arn.account() != caller.account {
            return Err(validation(format!("The signing profile {profile} belongs to another account")));
        }
        let certificate = self.registry.signing_certificate(&arn).await;
        Ok(SigningCertificateResponse { certificate: certificate.map_err(|error| internal().caused_by(error))? })
    }

    async fn history(&self, caller: &Caller, input: HistoryRequest) -> Result<HistoryResponse, Fault> {
        let keys = self.registry.repository_allowed(caller, "DescribeImages", &input.repository).await?;
        let invalid = |_| validation(format!("'{}' is not a tag", input.tag.as_deref().unwrap_or_default()));
        let tag = input.tag.as_deref().map(str::parse).transpose().map_err(invalid)?;
        let page = self.registry.tag_history(&keys, tag.as_ref(), input.next.as_deref(), PAGE_SIZE_MAX).await?;
        Ok(HistoryResponse { entries: page.0, next: page.1 })
    }
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(body).map_err(|error| Fault::new("SerializationException", 400, error.to_string()))
}

fn encode(output: &impl Serialize) -> Result<Vec<u8>, Fault> {
    serde_json::to_vec(output).map_err(|error| internal().caused_by(error))
}

fn validation(message: String) -> Fault {
    Fault::new("ValidationException", 400, message)
}

fn internal() -> Fault {
    Fault::new("InternalFailure", 500, "The request processing has failed because of an unknown error.")
}
