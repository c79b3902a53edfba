//! Mounts an implementation of a generated operation trait at the front door.

use std::{future::Future, pin::Pin, sync::Arc};

use gantry_api::{Caller, Fault, ServiceInfo};

use crate::{
    json::Json,
    query::{Form, Query},
};

/// A request's input in the protocol of its service.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// awsJson.
    Json(&'a [u8]),
    /// Query.
    Query(&'a Form),
}

/// The running answer of an operation; `None` for a name that the model does not have.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Option<Result<Vec<u8>, Fault>>> + Send + 'a>>;

/// One mounted service.
pub trait Service: Send + Sync {
    /// How it is addressed.
    fn info(&self) -> &'static ServiceInfo;
    /// Carries out an operation.
    fn call<'a>(&'a self, caller: &'a Caller, operation: &'a str, input: Input<'a>) -> Answer<'a>;
}

macro_rules! mount {
    ($(#[$doc:meta])* $function:ident, $module:ident, $trait:ident) => {
        $(#[$doc])*
        pub fn $function<S: gantry_api::$module::$trait>(service: Arc<S>) -> Arc<dyn Service> {
            struct Mounted<S>(Arc<S>);
            impl<S: gantry_api::$module::$trait> Service for Mounted<S> {
                fn info(&self) -> &'static ServiceInfo {
                    &gantry_api::$module::SERVICE
                }
                fn call<'a>(&'a self, caller: &'a Caller, operation: &'a str, input: Input<'a>) -> Answer<'a> {
                    Box::pin(async move {
                        match input {
                            Input::Json(body) => {
                                gantry_api::$module::dispatch(self.0.as_ref(), caller, operation, &Json(body)).await
                            }
                            Input::Query(form) => {
                                let query = Query { form, request_id: &caller.request_id };
                                gantry_api::$module::dispatch(self.0.as_ref(), caller, operation, &query).await
                            }
                        }
                    })
                }
            }
            Arc::new(Mounted(service))
        }
    };
}

mount!(/** Elastic Container Service. */ ecs, ecs, Ecs);
mount!(/** Elastic Container Registry. */ ecr, ecr, Ecr);
mount!(/** CloudWatch Logs. */ logs, logs, Logs);
mount!(/** Identity and Access Management. */ iam, iam, Iam);
mount!(/** Security Token Service. */ sts, sts, Sts);
mount!(/** EventBridge. */ events, events, Events);
mount!(/** Application Auto Scaling. */ application_autoscaling, application_autoscaling, ApplicationAutoscaling);
mount!(/** Systems Manager. */ ssm, ssm, Ssm);
mount!(/** X-Ray. */ xray, xray, Xray);
mount!(/** Secrets Manager. */ secretsmanager, secretsmanager, Secretsmanager);
