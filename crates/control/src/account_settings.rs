//! Account settings: which there are, what they may be, and which value holds for a principal.
//!
//! A principal's own value comes first, then the account's default (kept under the account's root), then the service's.

use gantry_api::{
    Fault,
    ecs::{Setting, SettingName, SettingType},
};
use gantry_domain::arn::Scope;

use crate::{EcsView, fault};

/// One setting of the service.
#[derive(Debug)]
pub(crate) struct Definition {
    /// On the wire.
    pub(crate) name: &'static str,
    values: &'static [&'static str],
    default: &'static str,
    rule: Rule,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Anybody for themselves, the root for all.
    Free,
    /// Only the default remains possible: opting out has ended.
    Fixed,
    /// Only the account as a whole has it.
    Account,
    /// The service decides.
    ReadOnly,
}

const SWITCH: &[&str] = &["enabled", "disabled"];

/// In the order of the model.
pub(crate) const DEFINITIONS: &[Definition] = &[
    Definition { name: "serviceLongArnFormat", values: SWITCH, default: "enabled", rule: Rule::Fixed },
    Definition { name: "taskLongArnFormat", values: SWITCH, default: "enabled", rule: Rule::Fixed },
    Definition { name: "containerInstanceLongArnFormat", values: SWITCH, default: "enabled", rule: Rule::Fixed },
    Definition { name: "awsvpcTrunking", values: SWITCH, default: "disabled", rule: Rule::Free },
    Definition {
        name: "containerInsights",
        values: &["enhanced", "enabled", "disabled"],
        default: "disabled",
        rule: Rule::Free,
    },
    Definition { name: "fargateFIPSMode", values: SWITCH, default: "disabled", rule: Rule::Free },
    Definition { name: "tagResourceAuthorization", values: &["on", "off"], default: "on", rule: Rule::Fixed },
    Definition {
        name: "fargateTaskRetirementWaitPeriod",
        values: &["0", "7", "14"],
        default: "7",
        rule: Rule::Account,
    },
    Definition { name: "guardDutyActivate", values: &["on", "off"], default: "off", rule: Rule::ReadOnly },
    Definition {
        name: "defaultLogDriverMode",
        values: &["blocking", "non-blocking"],
        default: "non-blocking",
        rule: Rule::Free,
    },
    Definition { name: "fargateEventWindows", values: SWITCH, default: "disabled", rule: Rule::Free },
];

/// The setting of a request.
pub(crate) fn named(name: Option<&SettingName>) -> Result<&'static Definition, Fault> {
    let given = name.map(|name| name.as_str()).unwrap_or_default();
    DEFINITIONS.iter().find(|definition| definition.name == given).ok_or_else(|| {
        let known: Vec<&str> = DEFINITIONS.iter().map(|definition| definition.name).collect();
        fault::setting_name(given, &known)
    })
}

impl Definition {
    /// Whether `principal` may give itself (or, as the root, the account) this value.
    pub(crate) fn check(&self, scope: &Scope, principal: &str, value: &str) -> Result<(), Fault> {
        if !self.values.contains(&value) {
            return Err(fault::setting_value(self.name, value));
        }
        match self.rule {
            Rule::ReadOnly => Err(fault::setting_read_only(self.name)),
            Rule::Fixed if value != self.default => Err(fault::setting_fixed(self.name)),
            Rule::Account if principal != scope.root_principal_arn() => Err(fault::setting_of_account(self.name)),
            _ => Ok(()),
        }
    }

    /// As an answer shows it.
    pub(crate) fn wire(&self, principal: &str, value: &str) -> Setting {
        let managed = self.rule == Rule::ReadOnly;
        Setting {
            name: Some(self.name.into()),
            value: Some(value.to_owned()),
            principal_arn: Some(principal.to_owned()),
            r#type: Some(if managed { SettingType::AwsManaged } else { SettingType::User }),
        }
    }
}

/// Whose setting a request means: the caller's own unless it names somebody of the same account.
pub(crate) fn principal(scope: &Scope, asked: Option<&str>, caller: &str) -> Result<String, Fault> {
    let Some(asked) = asked.filter(|asked| !asked.is_empty()) else { return Ok(caller.to_owned()) };
    let parts: Vec<&str> = asked.splitn(6, ':').collect();
    let valid = match parts[..] {
        ["arn", partition, "iam", "", account, who] => {
            let kind = who == "root" || who.starts_with("user/") || who.starts_with("role/");
            partition == scope.partition() && account == scope.account && kind && asked.len() <= 2048
        }
        _ => false,
    };
    if valid { Ok(asked.to_owned()) } else { Err(fault::principal(asked)) }
}

/// The value that was stored for a principal.
pub(crate) fn stored<'a>(view: &'a EcsView, scope: &Scope, principal: &str, name: &str) -> Option<&'a str> {
    let settings = view.namespace(scope)?.account_settings();
    settings.get(&(principal.to_owned(), name.to_owned())).map(|row| row.value.as_str())
}

/// The value that holds for a principal; empty for a name that is no setting.
pub(crate) fn effective(view: &EcsView, scope: &Scope, principal: &str, name: &str) -> String {
    let own = stored(view, scope, principal, name);
    let value = own.or_else(|| stored(view, scope, &scope.root_principal_arn(), name));
    let default = || DEFINITIONS.iter().find(|definition| definition.name == name).map(|found| found.default);
    value.or_else(default).unwrap_or_default().to_owned()
}
