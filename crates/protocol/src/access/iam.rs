//! What each call of IAM is authorized against.

use gantry_api::PrincipalKind;
use gantry_domain::web_identity::issuer::provider_name;

use super::checks::{Call, Check, pass_role};

/// The checks of a call.
pub(super) fn checks(call: &Call<'_>) -> Vec<Check> {
    let (operation, fields) = (call.operation, call.fields);
    let action = format!("iam:{operation}");
    let mut check = Check::new(&*action, resource(call)).with_request_tags();
    for (key, member) in [("iam:PolicyARN", "PolicyArn"), ("iam:AWSServiceName", "AWSServiceName")] {
        if let Some(value) = fields.text(member) {
            check = check.key(key, value);
        }
    }
    let named = fields.text("PermissionsBoundary").map(str::to_owned);
    if let Some(boundary) = named.or_else(|| boundary_of_holder(call)) {
        check = check.key("iam:PermissionsBoundary", boundary);
    }
    for key in fields.texts("TagKeys") {
        check = check.key("aws:TagKeys", key);
    }
    if operation == "AddRoleToInstanceProfile" {
        let role = call.iam("role", fields.text("RoleName").unwrap_or_default());
        return vec![check, pass_role(&role, "ec2.amazonaws.com")];
    }
    vec![check]
}

/// The boundary of the user or role whose permissions a call changes. With it a policy lets somebody change those within
/// a boundary only.
fn boundary_of_holder(call: &Call<'_>) -> Option<String> {
    let (kind, member) = match call.operation {
        "AttachRolePolicy"
        | "DeleteRolePermissionsBoundary"
        | "DeleteRolePolicy"
        | "DetachRolePolicy"
        | "PutRolePolicy" => ("role", "RoleName"),
        "AttachUserPolicy"
        | "DeleteUserPermissionsBoundary"
        | "DeleteUserPolicy"
        | "DetachUserPolicy"
        | "PutUserPolicy" => ("user", "UserName"),
        _ => return None,
    };
    call.facts.boundary(&call.caller.account, kind, call.fields.text(member)?)
}

fn resource(call: &Call<'_>) -> String {
    let fields = call.fields;
    let name = |member: &str| fields.text(member).filter(|name| !name.is_empty());
    let made = |kind: &str, member: &str| {
        let path = fields.text("Path").unwrap_or("/");
        format!("arn:aws:iam::{}:{kind}{path}{}", call.caller.account, name(member).unwrap_or_default())
    };
    match call.operation {
        "CreateUser" => return made("user", "UserName"),
        "CreateGroup" => return made("group", "GroupName"),
        "CreateRole" => return made("role", "RoleName"),
        "CreatePolicy" => return made("policy", "PolicyName"),
        "CreateInstanceProfile" => return made("instance-profile", "InstanceProfileName"),
        "CreateOpenIDConnectProvider" => {
            let provider = fields.text("Url").and_then(provider_name).unwrap_or_default();
            return format!("arn:aws:iam::{}:oidc-provider/{provider}", call.caller.account);
        }
        "CreateServiceLinkedRole" => {
            let service = name("AWSServiceName").unwrap_or_default();
            return format!("arn:aws:iam::{}:role/aws-service-role/{service}/*", call.caller.account);
        }
        "SimulatePrincipalPolicy" => return name("PolicySourceArn").unwrap_or("*").to_owned(),
        _ => {}
    }
    if let Some(arn) = name("OpenIDConnectProviderArn") {
        return arn.to_owned();
    }
    let attaches = call.operation.contains("Attach") || call.operation.contains("Detach");
    match (name("PolicyArn"), name("RoleName"), name("GroupName"), name("UserName"), name("InstanceProfileName")) {
        (Some(arn), ..) if !attaches => arn.to_owned(),
        (_, _, _, _, Some(profile)) => call.iam("instance-profile", profile),
        (_, Some(role), ..) => call.iam("role", role),
        (_, _, Some(group), ..) => call.iam("group", group),
        (_, _, _, Some(user), _) => call.iam("user", user),
        _ if is_about_the_caller(call.operation) && call.caller.kind == PrincipalKind::User => {
            call.caller.principal_arn.clone()
        }
        _ => "*".to_owned(),
    }
}

/// Operations that mean the caller when no user is named.
fn is_about_the_caller(operation: &str) -> bool {
    matches!(operation, "CreateAccessKey" | "DeleteAccessKey" | "GetUser" | "ListAccessKeys" | "UpdateAccessKey")
}

impl Call<'_> {
    /// The ARN of something of IAM, with its path when it is there.
    fn iam(&self, kind: &str, name: &str) -> String {
        let found = self.facts.iam_arn(&self.caller.account, kind, name);
        found.unwrap_or_else(|| format!("arn:aws:iam::{}:{kind}/{name}", self.caller.account))
    }
}
