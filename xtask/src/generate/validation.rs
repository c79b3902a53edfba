//! `Validate` implementations: the constraints that the model puts on input shapes.

use std::{collections::BTreeSet, fmt::Write};

use anyhow::Result;

use super::{
    model::{Model, Shape},
    names,
};

/// The implementation for struct `name`; empty members cost nothing. `constrained` holds the shapes worth visiting.
pub(crate) fn implementation(model: &Model, name: &str, constrained: &BTreeSet<&str>) -> Result<String> {
    let shape = model.shape(name)?;
    let mut body = String::new();
    for (member, reference) in &shape.members {
        let field = names::field(member);
        if shape.required.contains(member) {
            writeln!(body, "problems.required(path, {member:?}, self.{field}.is_none());")?;
        }
        if constrained.contains(reference.shape.as_str()) {
            let check = check(model, &reference.shape, "value", constrained)?;
            writeln!(body, "if let Some(value) = &self.{field} {{ let path = &path.member({member:?}); {check} }}")?;
        }
    }
    let (path, problems) = if body.is_empty() { ("_path", "_problems") } else { ("path", "problems") };
    Ok(format!(
        "impl crate::validate::Validate for {} {{\nfn validate(&self, {path}: &crate::validate::Path<'_>, {problems}: &mut crate::validate::Problems) {{\n{body}}}\n}}\n\n",
        names::type_name(name)
    ))
}

/// Statements that check `value`, a reference to a value of shape `name`, at `path`.
fn check(model: &Model, name: &str, value: &str, constrained: &BTreeSet<&str>) -> Result<String> {
    let shape = model.shape(name)?;
    let mut out = own_constraints(shape, value)?;
    match shape.kind.as_str() {
        "structure" if !shape.document => write!(out, "crate::validate::Validate::validate({value}, path, problems);")?,
        "string" if !shape.values.is_empty() => {
            let type_name = names::type_name(name);
            write!(
                out,
                "problems.enumeration(path, matches!({value}, {type_name}::Unknown(_)), {value}.as_str(), {type_name}::VALUES);"
            )?;
        }
        "list" | "map" => {
            let element = shape.member.as_ref().or(shape.value.as_ref()).map(|reference| reference.shape.as_str());
            if let Some(element) = element.filter(|element| constrained.contains(element)) {
                let inner = check(model, element, "value", constrained)?;
                if shape.kind == "list" {
                    write!(
                        out,
                        "for (index, value) in {value}.iter().enumerate() {{ let path = &path.index(index); {inner} }}"
                    )?;
                } else {
                    write!(out, "for (key, value) in {value} {{ let path = &path.key(key); {inner} }}")?;
                }
            }
        }
        _ => {}
    }
    Ok(out)
}

fn own_constraints(shape: &Shape, value: &str) -> Result<String> {
    let mut out = String::new();
    let bounds = |bound: Option<f64>| bound.map_or("None".to_string(), |bound| format!("Some({bound:.0})"));
    if shape.min.is_some() || shape.max.is_some() {
        let (min, max) = (bounds(shape.min), bounds(shape.max));
        match shape.kind.as_str() {
            "string" => write!(out, "problems.length(path, {value}.as_str(), {min}, {max});")?,
            "blob" => write!(out, "problems.size(path, {value}.0.len(), {min}, {max});")?,
            "list" | "map" => write!(out, "problems.size(path, {value}.len(), {min}, {max});")?,
            "integer" => write!(out, "problems.range(path, i64::from(*{value}), {min}, {max});")?,
            "long" => write!(out, "problems.range(path, *{value}, {min}, {max});")?,
            _ => {}
        }
    }
    if let Some(pattern) = usable_pattern(shape) {
        write!(
            out,
            "{{ static PATTERN: crate::validate::Pattern = crate::validate::Pattern::new({pattern:?}); problems.pattern(path, {value}.as_str(), &PATTERN); }}"
        )?;
    }
    if shape.sensitive && !out.is_empty() {
        out.insert_str(0, "let path = &path.secret(); ");
    }
    Ok(out)
}

/// The model's pattern, when Rust's regex engine can run it (it has no look-around) and it says anything.
pub(crate) fn usable_pattern(shape: &Shape) -> Option<&str> {
    let pattern = shape.pattern.as_deref()?;
    (shape.kind == "string" && regex::Regex::new(&format!("^(?:{pattern})$")).is_ok()).then_some(pattern)
}

/// The shapes that carry constraints or lead to some.
pub(crate) fn constrained(model: &Model) -> BTreeSet<&str> {
    let mut found: BTreeSet<&str> = BTreeSet::new();
    loop {
        let before = found.len();
        for (name, shape) in &model.shapes {
            let own = !shape.required.is_empty()
                || !shape.values.is_empty()
                || (shape.min.is_some() || shape.max.is_some()) && shape.kind != "double"
                || usable_pattern(shape).is_some();
            if own || model.uses(name).iter().any(|used| found.contains(used)) {
                found.insert(name);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}
