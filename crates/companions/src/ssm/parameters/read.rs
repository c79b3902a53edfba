//! Reading values: `GetParameter`, `GetParameters` and `GetParametersByPath`.

use gantry_api::secretsmanager::{GetSecretValueRequest, Secretsmanager as _};
use gantry_api::ssm::{
    GetParameterRequest, GetParameterResult, GetParametersByPathRequest, GetParametersByPathResult,
    GetParametersRequest, GetParametersResult, Parameter as Shown, ParameterType,
};
use gantry_api::{Caller, Fault, Timestamp};
use gantry_domain::paging::Pager;
use gantry_domain::parameter::filter::{Filter, List};
use gantry_domain::parameter::name::{bare, is_below, is_path};
use gantry_domain::parameter::reference::{ParameterReference, Selector, secret_of};

use super::describe::{facts, parse_filters};
use super::rows::{About, Parameter, SECURE};
use super::{Inner, fault, scope_of};
use crate::ssm::Ssm;

/// Parameters of a page of `GetParametersByPath`.
const PAGE_SIZE: i32 = 10;
/// An id of a secret's version is not shorter; a stage may be.
const VERSION_ID_LENGTH_MIN: usize = 32;

pub(in crate::ssm) async fn get_parameter(
    ssm: &Ssm,
    caller: &Caller,
    input: GetParameterRequest,
) -> Result<GetParameterResult, Fault> {
    let inner = ssm.parameters.inner();
    let name = input.name.unwrap_or_default();
    let parameter = read(inner, caller, &name, input.with_decryption.unwrap_or(false)).await?;
    Ok(GetParameterResult { parameter: Some(parameter) })
}

/// Reads several; those that are not there are listed apart.
pub(in crate::ssm) async fn get_parameters(
    ssm: &Ssm,
    caller: &Caller,
    input: GetParametersRequest,
) -> Result<GetParametersResult, Fault> {
    let inner = ssm.parameters.inner();
    let decrypted = input.with_decryption.unwrap_or(false);
    let mut names = input.names.unwrap_or_default();
    let (mut parameters, mut invalid) = (Vec::new(), Vec::new());
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    for name in names {
        match read(inner, caller, &name, decrypted).await {
            Ok(parameter) => parameters.push(parameter),
            Err(missing) if matches!(missing.code, "ParameterNotFound" | "ParameterVersionNotFound") => {
                invalid.push(name);
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(GetParametersResult { parameters: Some(parameters), invalid_parameters: Some(invalid) })
}

async fn read(inner: &Inner, caller: &Caller, name: &str, decrypted: bool) -> Result<Shown, Fault> {
    let reference: ParameterReference = name.parse().map_err(|_| fault::not_found(name))?;
    if let Some(secret) = secret_of(&reference.name).filter(|_| reference.place.is_none()) {
        return of_secret(inner, caller, &reference, secret, decrypted).await;
    }
    let parameter = inner.find(caller, &reference)?;
    let found = parameter.row.versions.find(reference.selector.as_ref());
    let (number, version) = found.map_err(|error| fault::versions(&reference.name, &error))?;
    let mut shown = shown(inner, &parameter, number, &version.about, decrypted).await?;
    shown.selector = reference.selector_text();
    Ok(shown)
}

async fn shown(
    inner: &Inner,
    parameter: &Parameter,
    number: u64,
    about: &About,
    decrypted: bool,
) -> Result<Shown, Fault> {
    Ok(Shown {
        arn: Some(parameter.arn()),
        data_type: Some(about.data_type.clone()),
        last_modified_date: Some(Timestamp::from_millis(about.at)),
        name: Some(parameter.row.name.clone()),
        selector: None,
        source_result: None,
        r#type: Some(ParameterType::from(parameter.row.kind.as_str())),
        value: Some(inner.value(parameter, number, decrypted).await?),
        version: i64::try_from(number).ok(),
    })
}

/// A secret of Secrets Manager, read with the caller's permissions there.
async fn of_secret(
    inner: &Inner,
    caller: &Caller,
    reference: &ParameterReference,
    secret: &str,
    decrypted: bool,
) -> Result<Shown, Fault> {
    if !decrypted {
        return Err(fault::decryption_needed());
    }
    let mut input = GetSecretValueRequest { secret_id: Some(secret.to_owned()), ..GetSecretValueRequest::default() };
    match &reference.selector {
        Some(Selector::Label(id)) if id.len() >= VERSION_ID_LENGTH_MIN => input.version_id = Some(id.clone()),
        Some(Selector::Label(stage)) => input.version_stage = Some(stage.clone()),
        Some(Selector::Version(number)) => input.version_stage = Some(number.to_string()),
        None => {}
    }
    let read = inner.secrets.get_secret_value(caller, input).await;
    let read = read.map_err(|fault| fault::of_secret(secret, &fault))?;
    Ok(Shown {
        arn: read.arn.clone(),
        data_type: Some("text".to_owned()),
        last_modified_date: read.created_date,
        name: Some(reference.name.clone()),
        selector: reference.selector_text(),
        source_result: Some(serde_json::to_string(&read).map_err(fault::unavailable)?),
        r#type: Some(ParameterType::from(SECURE)),
        value: read.secret_string,
        version: Some(0),
    })
}

pub(in crate::ssm) async fn get_parameters_by_path(
    ssm: &Ssm,
    caller: &Caller,
    input: GetParametersByPathRequest,
) -> Result<GetParametersByPathResult, Fault> {
    let inner = ssm.parameters.inner();
    let path = input.path.unwrap_or_default();
    if !is_path(&path) {
        return Err(fault::path());
    }
    let recursive = input.recursive.unwrap_or(false);
    let filters = parse_filters(List::ByPath, input.parameter_filters)?;
    let scope = scope_of(caller);
    let question = format!("GetParametersByPath {scope:?} {path} {recursive} {filters:?}");
    let pager = Pager::new(&question, usize::try_from(input.max_results.unwrap_or(PAGE_SIZE)).unwrap_or(1));
    let after = pager.after(input.next_token.as_deref()).map_err(|_| fault::bad_token())?;
    let now = inner.now();
    let page = {
        let picture = inner.view.read();
        let below = picture.after(&scope, bare(&path), after.as_deref()).filter(|parameter| {
            is_below(&parameter.row.name, &path, recursive)
                && !parameter.is_over(now)
                && filters.iter().all(|filter| filter.matches(facts(&parameter.row, &parameter.row.labels())))
        });
        pager.page(below.cloned(), |parameter| parameter.bare().to_owned())
    };
    let decrypted = input.with_decryption.unwrap_or(false);
    let mut parameters = Vec::new();
    for parameter in page.items {
        parameters.extend(version_below(inner, &parameter, &filters, decrypted).await?);
    }
    Ok(GetParametersByPathResult { parameters: Some(parameters), next_token: page.next_token })
}

/// The version that is shown of a parameter below a path: the newest, or the one with a label that is asked for.
/// None when the parameter was removed a moment ago.
async fn version_below(
    inner: &Inner,
    parameter: &Parameter,
    filters: &[Filter],
    decrypted: bool,
) -> Result<Option<Shown>, Fault> {
    let versions = &parameter.row.versions;
    let labels: Vec<&str> = filters.iter().flat_map(Filter::labels).collect();
    let labelled = versions.iter().find(|(_, version)| labels.iter().any(|label| version.labels.contains(*label)));
    let Some((number, version)) = labelled.or_else(|| versions.newest()) else { return Ok(None) };
    match shown(inner, parameter, number, &version.about, decrypted).await {
        Ok(shown) => Ok(Some(shown)),
        Err(gone) if gone.code == "ParameterNotFound" => Ok(None),
        Err(fault) => Err(fault),
    }
}
