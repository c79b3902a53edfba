//! Policy documents and what they decide: the only evaluator of IAM policies in Gantry.
//!
//! A text becomes a [`Document`] once, with [`Document::parse`]; whatever the grammar does not know is refused by name.
//! A call becomes a [`Request`]: who ([`Principal`]), what (an action such as `ecr:BatchGetImage`), on which resource
//! (an ARN, or `*` for actions that have none), whose it is, when, and the condition keys of the [`Context`].
//! [`evaluate()`] answers with a [`Decision`]; a [`Denial`] knows the service's own sentence:
//!
//! ```
//! use gantry_domain::Timestamp;
//! use gantry_domain::policy::{Context, Decision, Document, Identity, Kind, Policies, Principal, PrincipalPolicies, Request, evaluate};
//! use std::sync::Arc;
//!
//! let text = r#"{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "ecr:Get*", "Resource": "*"}}"#;
//! let document = Arc::new(Document::parse(text, Kind::Identity)?);
//! let of_principal = PrincipalPolicies { identity: vec![document], ..PrincipalPolicies::default() };
//! let user = Principal::new(Identity::User { arn: "arn:aws:iam::000000000000:user/ann".into(), id: "AIDA1".into() });
//! let request = Request {
//!     principal: &user,
//!     action: "ecr:PutImage",
//!     resource: "arn:aws:ecr:us-east-1:000000000000:repository/web",
//!     account: "000000000000",
//!     now: Timestamp::from_seconds(1_700_000_000),
//!     context: &Context::default(),
//! };
//! let Decision::Deny(denial) = evaluate(&request, &Policies::of(&of_principal)) else { panic!() };
//! assert_eq!(
//!     denial.sentence(&request),
//!     "User: arn:aws:iam::000000000000:user/ann is not authorized to perform: ecr:PutImage on resource: \
//!      arn:aws:ecr:us-east-1:000000000000:repository/web because no identity-based policy allows the ecr:PutImage action"
//! );
//! # Ok::<(), gantry_domain::policy::PolicyError>(())
//! ```
//!
//! What must hold: a Deny that matches wins over every Allow; nothing is allowed that no policy allows, except to the
//! root of the account that owns the resource; the order of statements does not matter; time is linear in the size of
//! the policies, whatever their wildcards.
//!
//! For a call on several resources, or one that needs several actions, ask once for each: all must be allowed.
//! Role trust policies are decided by [`evaluate_trust`]. Names of resources that exist nowhere play no part here:
//! authorization comes before existence.

mod action;
mod condition;
mod context;
mod decision;
mod document;
mod error;
mod evaluate;
mod glob;
mod json;
mod parse;
mod principal;
mod resource;
mod statement;
mod template;
#[cfg(test)]
mod tests;

pub use context::Context;
pub use decision::{Decision, Denial, PolicyType};
pub use document::{Document, Kind, Version, significant_length};
pub use error::{PolicyError, Problem};
pub use evaluate::{Policies, PrincipalPolicies, Request, evaluate, evaluate_trust};
pub use principal::{Identity, Principal, PrincipalPattern};
pub use statement::Effect;
