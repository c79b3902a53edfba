//! Rust code for one shape: a struct, an enum, or nothing for the shapes that are plain Rust types.

use std::fmt::Write;

use anyhow::{Result, bail};

use super::{
    model::{Model, Shape},
    names,
};

/// The Rust type that a member of shape `name` has.
pub(crate) fn rust_type(model: &Model, name: &str) -> Result<String> {
    let shape = model.shape(name)?;
    Ok(match shape.kind.as_str() {
        "string" if shape.values.is_empty() => "String".into(),
        "string" => names::type_name(name),
        "structure" if shape.document => "serde_json::Value".into(),
        "structure" => names::type_name(name),
        "integer" => "i32".into(),
        "long" => "i64".into(),
        "double" | "float" => "f64".into(),
        "boolean" => "bool".into(),
        "timestamp" => "crate::Timestamp".into(),
        "blob" => "crate::Blob".into(),
        "list" => format!("Vec<{}>", element_type(model, shape)?),
        "map" => format!("std::collections::BTreeMap<String, {}>", element_type(model, shape)?),
        other => bail!("shape {name} has the unknown type {other}"),
    })
}

fn element_type(model: &Model, shape: &Shape) -> Result<String> {
    match shape.member.as_ref().or(shape.value.as_ref()) {
        Some(reference) => rust_type(model, &reference.shape),
        None => bail!("a list or map without a member shape"),
    }
}

/// Whether the shape becomes an item of its own.
pub(crate) fn is_item(shape: &Shape) -> bool {
    match shape.kind.as_str() {
        "structure" => !shape.document,
        "string" => !shape.values.is_empty(),
        _ => false,
    }
}

/// The item for a struct or enum shape.
pub(crate) fn item(model: &Model, name: &str) -> Result<String> {
    let shape = model.shape(name)?;
    match shape.kind.as_str() {
        "structure" => structure(model, name, shape),
        _ => Ok(enumeration(name, shape)),
    }
}

fn structure(model: &Model, name: &str, shape: &Shape) -> Result<String> {
    let type_name = names::type_name(name);
    let secret = shape.members.values().any(|member| model.shape(&member.shape).is_ok_and(|shape| shape.sensitive));
    let mut out = String::new();
    writeln!(out, "/// `{name}` of the service model.")?;
    let debug = if secret { "" } else { "Debug, " };
    writeln!(out, "#[derive({debug}Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]")?;
    writeln!(out, "#[serde(default)]\npub struct {type_name} {{")?;
    for (member, reference) in &shape.members {
        if model.shape(&reference.shape)?.exception {
            continue; // of an event stream: sent as a frame of its own, never as a member
        }
        let mut rust = rust_type(model, &reference.shape)?;
        if contains_itself(model, name, &reference.shape) {
            rust = format!("Box<{rust}>");
        }
        let requirement = if shape.required.contains(member) { ", required" } else { "" };
        writeln!(out, "/// `{member}`{requirement}.")?;
        writeln!(out, "#[serde(rename = {member:?}, skip_serializing_if = \"Option::is_none\")]")?;
        writeln!(out, "pub {}: Option<{rust}>,", names::field(member))?;
    }
    writeln!(out, "}}\n")?;
    if secret {
        writeln!(out, "impl std::fmt::Debug for {type_name} {{")?;
        writeln!(out, "fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {{")?;
        writeln!(out, "f.write_str(\"{type_name} {{ .. }}\") }} }}\n")?;
    }
    Ok(out)
}

/// Whether `member` is a struct that holds `owner` again without a list or map between.
fn contains_itself(model: &Model, owner: &str, member: &str) -> bool {
    fn walk(model: &Model, owner: &str, at: &str, depth: u32) -> bool {
        let Some(shape) = model.shapes.get(at) else { return false };
        shape.kind == "structure"
            && depth < 12
            && (at == owner || shape.members.values().any(|next| walk(model, owner, &next.shape, depth + 1)))
    }
    walk(model, owner, member, 0)
}

fn enumeration(name: &str, shape: &Shape) -> String {
    let type_name = names::type_name(name);
    let variants = names::variants(&shape.values);
    let mut out =
        format!("/// `{name}` of the service model.\n#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]\n");
    out += &format!("pub enum {type_name} {{\n");
    for (variant, value) in &variants {
        out += &format!("/// `{value}`.\n{variant},\n");
    }
    out += "/// A value that the model does not have.\nUnknown(String),\n}\n\n";
    out += &format!("impl {type_name} {{\n/// The model's values.\npub const VALUES: &[&str] = &[");
    for (_, value) in &variants {
        out += &format!("{value:?}, ");
    }
    out += "];\n\n/// The value on the wire.\npub fn as_str(&self) -> &str {\nmatch self {\n";
    for (variant, value) in &variants {
        out += &format!("Self::{variant} => {value:?},\n");
    }
    out += "Self::Unknown(value) => value,\n}\n}\n}\n\n";
    out += &format!("impl From<&str> for {type_name} {{\nfn from(value: &str) -> Self {{\nmatch value {{\n");
    for (variant, value) in &variants {
        out += &format!("{value:?} => Self::{variant},\n");
    }
    out += "other => Self::Unknown(other.to_string()),\n}\n}\n}\n\n";
    out += &format!("crate::wire_enum!({type_name});\n\n");
    out
}
