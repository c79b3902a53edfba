//! From text to [`Document`]: the grammar of policies.

use std::collections::BTreeSet;

use super::{
    action::ActionPattern,
    condition::{Condition, Operator},
    document::{Document, Kind, TEXT_LENGTH_MAX, Version},
    error::{PolicyError, Problem},
    json::{self, Json},
    principal::{PrincipalPattern, Principals},
    resource::ResourcePattern,
    statement::{Effect, Statement},
};

pub(super) fn document(text: &str, kind: Kind) -> Result<Document, PolicyError> {
    if text.len() > TEXT_LENGTH_MAX {
        return Err(Problem::TooLong(TEXT_LENGTH_MAX).into());
    }
    let Json::Object(members) = json::parse(text)? else { return Err(Problem::Type("a policy", "an object").into()) };
    let (mut version, mut statements) = (Version::V2008, None);
    for (name, value) in &members {
        match name.as_str() {
            "Version" => version = parse_version(value)?,
            "Id" if kind == Kind::Identity => return Err(Problem::Forbidden("Id").into()),
            "Id" => drop(string(value, "Id")?),
            "Statement" => statements = Some(value),
            other => return Err(Problem::UnknownElement(other.to_owned()).into()),
        }
    }
    let statements = match statements.ok_or(Problem::Missing("Statement"))? {
        Json::List(list) if list.is_empty() => return Err(Problem::Empty("Statement").into()),
        Json::List(list) => list.as_slice(),
        one => std::slice::from_ref(one),
    };
    let mut sids = BTreeSet::new();
    let mut parsed = Vec::with_capacity(statements.len());
    for (index, statement) in statements.iter().enumerate() {
        let at = |problem| PolicyError { statement: Some(index + 1), problem };
        let statement = parse_statement(statement, kind, version).map_err(at)?;
        if let (Some(sid), Kind::Identity | Kind::Trust) = (&statement.sid, kind) {
            check_sid(sid, &mut sids).map_err(at)?;
        }
        parsed.push(statement);
    }
    Ok(Document { version, statements: parsed })
}

fn parse_version(value: &Json) -> Result<Version, Problem> {
    match string(value, "Version")? {
        "2012-10-17" => Ok(Version::V2012),
        "2008-10-17" => Ok(Version::V2008),
        other => Err(Problem::Version(other.to_owned())),
    }
}

/// IAM wants Sids to be plain and different; resource policies may use any text.
fn check_sid(sid: &str, seen: &mut BTreeSet<String>) -> Result<(), Problem> {
    if !sid.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(Problem::Sid(sid.to_owned()));
    }
    // An empty Sid is none.
    if sid.is_empty() || seen.insert(sid.to_owned()) { Ok(()) } else { Err(Problem::SidNotUnique(sid.to_owned())) }
}

/// The elements of a statement, before they are read.
#[derive(Default)]
struct Elements<'j> {
    sid: Option<&'j Json>,
    effect: Option<&'j Json>,
    principal: Option<&'j Json>,
    not_principal: Option<&'j Json>,
    action: Option<&'j Json>,
    not_action: Option<&'j Json>,
    resource: Option<&'j Json>,
    not_resource: Option<&'j Json>,
    condition: Option<&'j Json>,
}

fn parse_statement(json: &Json, kind: Kind, version: Version) -> Result<Statement, Problem> {
    let Json::Object(members) = json else { return Err(Problem::Type("a statement", "an object")) };
    let mut elements = Elements::default();
    for (name, value) in members {
        let element = match name.as_str() {
            "Sid" => &mut elements.sid,
            "Effect" => &mut elements.effect,
            "Principal" => &mut elements.principal,
            "NotPrincipal" => &mut elements.not_principal,
            "Action" => &mut elements.action,
            "NotAction" => &mut elements.not_action,
            "Resource" => &mut elements.resource,
            "NotResource" => &mut elements.not_resource,
            "Condition" => &mut elements.condition,
            other => return Err(Problem::UnknownElement(other.to_owned())),
        };
        *element = Some(value);
    }
    let variables = version == Version::V2012;
    let effect = match string(elements.effect.ok_or(Problem::Missing("Effect"))?, "Effect")? {
        "Allow" => Effect::Allow,
        "Deny" => Effect::Deny,
        other => return Err(Problem::Effect(other.to_owned())),
    };
    let (not_actions, actions) =
        one_of(elements.action, elements.not_action, "Action", "NotAction")?.ok_or(Problem::Missing("Action"))?;
    let actions = strings(actions, "Action")?.into_iter().map(ActionPattern::parse).collect::<Result<Vec<_>, _>>()?;
    if kind == Kind::Trust {
        let foreign = actions.iter().find(|action| !action.text.starts_with("sts:"));
        if let Some(action) = foreign {
            return Err(Problem::Action(action.text.clone()));
        }
    }
    let resource = one_of(elements.resource, elements.not_resource, "Resource", "NotResource")?;
    let (not_resources, resources) = resources(resource, kind, variables)?;
    Ok(Statement {
        sid: elements.sid.map(|sid| string(sid, "Sid").map(str::to_owned)).transpose()?,
        effect,
        principals: principals(elements.principal, elements.not_principal, kind, effect)?,
        not_actions,
        actions,
        not_resources,
        resources,
        conditions: elements.condition.map_or(Ok(Vec::new()), |json| conditions(json, variables))?,
    })
}

fn resources(
    element: Option<(bool, &Json)>,
    kind: Kind,
    variables: bool,
) -> Result<(bool, Option<Vec<ResourcePattern>>), Problem> {
    match (element, kind) {
        (None, Kind::Identity | Kind::Resource) => Err(Problem::Missing("Resource")),
        (None, Kind::Implied | Kind::Trust) => Ok((false, None)),
        (Some(_), Kind::Implied | Kind::Trust) => Err(Problem::Forbidden("Resource")),
        (Some((not, json)), Kind::Identity | Kind::Resource) => {
            let patterns = strings(json, "Resource")?.into_iter().map(|text| ResourcePattern::parse(text, variables));
            Ok((not, Some(patterns.collect::<Result<_, _>>()?)))
        }
    }
}

fn principals(
    principal: Option<&Json>,
    not_principal: Option<&Json>,
    kind: Kind,
    effect: Effect,
) -> Result<Option<Principals>, Problem> {
    let (not, json) = match one_of(principal, not_principal, "Principal", "NotPrincipal")? {
        None if kind == Kind::Identity => return Ok(None),
        None => return Err(Problem::Missing("Principal")),
        Some(_) if kind == Kind::Identity => return Err(Problem::Forbidden("Principal")),
        Some((true, _)) if kind == Kind::Trust => return Err(Problem::Forbidden("NotPrincipal")),
        Some((true, _)) if effect == Effect::Allow => return Err(Problem::NotPrincipalAllow),
        Some(element) => element,
    };
    let mut patterns = Vec::new();
    match json {
        Json::Text(text) if text == "*" => patterns.push(PrincipalPattern::Anyone),
        Json::Text(text) => return Err(Problem::Principal(text.clone())),
        Json::Object(types) => {
            for (kind, values) in types {
                for text in strings(values, "Principal")? {
                    patterns.push(PrincipalPattern::parse(kind, text)?);
                }
            }
        }
        _ => return Err(Problem::Type("Principal", "\"*\" or an object")),
    }
    if patterns.is_empty() { Err(Problem::Empty("Principal")) } else { Ok(Some(Principals { not, patterns })) }
}

fn conditions(json: &Json, variables: bool) -> Result<Vec<Condition>, Problem> {
    let Json::Object(operators) = json else { return Err(Problem::Type("Condition", "an object")) };
    let mut conditions = Vec::new();
    for (name, keys) in operators {
        let operator = Operator::parse(name)?;
        let Json::Object(keys) = keys else { return Err(Problem::Type("a condition", "an object")) };
        for (key, values) in keys {
            let values = match values {
                Json::List(list) => list.iter().map(scalar).collect::<Result<Vec<_>, _>>()?,
                one => vec![scalar(one)?],
            };
            conditions.push(Condition::parse(operator, key, &values, variables)?);
        }
    }
    Ok(conditions)
}

/// The one of two elements that is there, and whether it is the second.
fn one_of<'j>(
    plain: Option<&'j Json>,
    not: Option<&'j Json>,
    name: &'static str,
    not_name: &'static str,
) -> Result<Option<(bool, &'j Json)>, Problem> {
    match (plain, not) {
        (Some(_), Some(_)) => Err(Problem::Both(name, not_name)),
        (Some(json), None) => Ok(Some((false, json))),
        (None, Some(json)) => Ok(Some((true, json))),
        (None, None) => Ok(None),
    }
}

fn string<'j>(json: &'j Json, name: &'static str) -> Result<&'j str, Problem> {
    match json {
        Json::Text(text) => Ok(text),
        _ => Err(Problem::Type(name, "a string")),
    }
}

/// A string, or a list of some.
fn strings<'j>(json: &'j Json, name: &'static str) -> Result<Vec<&'j str>, Problem> {
    match json {
        Json::List(list) if list.is_empty() => Err(Problem::Empty(name)),
        Json::List(list) => list.iter().map(|item| string(item, name)).collect(),
        one => Ok(vec![string(one, name)?]),
    }
}

/// A value of a condition.
fn scalar(json: &Json) -> Result<&str, Problem> {
    match json {
        Json::Text(text) | Json::Scalar(text) => Ok(text),
        Json::Null | Json::List(_) | Json::Object(_) => {
            Err(Problem::Type("a condition value", "a string, number or boolean"))
        }
    }
}
