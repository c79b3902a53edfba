//! OpenID Connect providers: the issuers whose tokens an account believes, and for which client ids.
//!
//! A provider is its issuer's address and cannot be given another. Its documents are not asked for here: whoever shows
//! a token makes the token service do that. The thumbprints are kept and returned.

use std::sync::Arc;

use gantry_api::iam::{
    AddClientIDToOpenIDConnectProviderRequest, CreateOpenIDConnectProviderRequest, CreateOpenIDConnectProviderResponse,
    DeleteOpenIDConnectProviderRequest, GetOpenIDConnectProviderRequest, GetOpenIDConnectProviderResponse,
    ListOpenIDConnectProvidersRequest, ListOpenIDConnectProvidersResponse, OpenIDConnectProviderListEntry,
    RemoveClientIDFromOpenIDConnectProviderRequest, UpdateOpenIDConnectProviderThumbprintRequest,
};
use gantry_api::{Caller, Empty, Fault};
use gantry_domain::web_identity::issuer::provider_name;

use super::rows::OidcProvider;
use super::{Iam, fault, wire};

/// Providers of an account.
const PROVIDERS_MAX: usize = 100;
const CLIENT_IDS_MAX: usize = 100;
const THUMBPRINTS_MAX: usize = 5;

pub(super) async fn create_open_id_connect_provider(
    iam: &Iam,
    caller: &Caller,
    input: CreateOpenIDConnectProviderRequest,
) -> Result<CreateOpenIDConnectProviderResponse, Fault> {
    if input.context_provider.is_some() || input.identity_center_instance_arn.is_some() {
        return Err(fault::invalid("Trusted identity propagation is not supported: there is no IAM Identity Center."));
    }
    let url = input.url.unwrap_or_default();
    let name = provider_name(&url).ok_or_else(|| fault::validation("Invalid Open ID Connect Provider URL"))?;
    let provider = OidcProvider {
        name: name.to_owned(),
        created_at: iam.now(),
        client_ids: checked_client_ids(without_doubles(input.client_id_list))?,
        thumbprints: checked_thumbprints(input.thumbprint_list)?,
        tags: wire::read_tags(input.tags)?,
        url,
    };
    iam.change(&caller.account, |picture, changes| {
        if picture.oidc_providers.contains_key(&provider.name.to_lowercase()) {
            return Err(fault::provider_exists(&provider.url));
        }
        if picture.oidc_providers.len() >= PROVIDERS_MAX {
            return Err(fault::quota("OpenIdConnectProvidersPerAccount", PROVIDERS_MAX));
        }
        changes.put(&provider);
        Ok(())
    })
    .await?;
    Ok(CreateOpenIDConnectProviderResponse {
        open_id_connect_provider_arn: Some(provider.arn(&caller.account)),
        tags: wire::tags(&provider.tags),
    })
}

pub(super) async fn get_open_id_connect_provider(
    iam: &Iam,
    caller: &Caller,
    input: GetOpenIDConnectProviderRequest,
) -> Result<GetOpenIDConnectProviderResponse, Fault> {
    let arn = input.open_id_connect_provider_arn.unwrap_or_default();
    let provider = iam.look(&caller.account, |picture| picture.oidc_provider(&caller.account, &arn).cloned())?;
    Ok(GetOpenIDConnectProviderResponse {
        url: Some(provider.name.clone()),
        client_id_list: Some(provider.client_ids.clone()),
        thumbprint_list: Some(provider.thumbprints.clone()),
        create_date: wire::time(provider.created_at),
        tags: wire::tags(&provider.tags),
        ..GetOpenIDConnectProviderResponse::default()
    })
}

/// The real service does not page this list either.
pub(super) async fn list_open_id_connect_providers(
    iam: &Iam,
    caller: &Caller,
    _: ListOpenIDConnectProvidersRequest,
) -> Result<ListOpenIDConnectProvidersResponse, Fault> {
    let shown = |provider: &Arc<OidcProvider>| OpenIDConnectProviderListEntry {
        arn: Some(provider.arn(&caller.account)),
        ..OpenIDConnectProviderListEntry::default()
    };
    let list = iam.look(&caller.account, |picture| picture.oidc_providers.values().map(shown).collect());
    Ok(ListOpenIDConnectProvidersResponse { open_id_connect_provider_list: Some(list) })
}

/// One that is not there is no mistake. Roles that trust it stay as they are, and nobody comes by it any more.
pub(super) async fn delete_open_id_connect_provider(
    iam: &Iam,
    caller: &Caller,
    input: DeleteOpenIDConnectProviderRequest,
) -> Result<Empty, Fault> {
    let arn = input.open_id_connect_provider_arn.unwrap_or_default();
    iam.change(&caller.account, |picture, changes| {
        if let Ok(provider) = picture.oidc_provider(&caller.account, &arn) {
            changes.delete(&**provider);
        }
        Ok(Empty {})
    })
    .await
}

pub(super) async fn update_open_id_connect_provider_thumbprint(
    iam: &Iam,
    caller: &Caller,
    input: UpdateOpenIDConnectProviderThumbprintRequest,
) -> Result<Empty, Fault> {
    let thumbprints = checked_thumbprints(input.thumbprint_list)?;
    iam.change_provider(caller, input.open_id_connect_provider_arn, |provider| {
        provider.thumbprints.clone_from(&thumbprints);
        Ok(())
    })
    .await
}

/// One that is there already is no mistake.
pub(super) async fn add_client_id_to_open_id_connect_provider(
    iam: &Iam,
    caller: &Caller,
    input: AddClientIDToOpenIDConnectProviderRequest,
) -> Result<Empty, Fault> {
    let id = input.client_id.unwrap_or_default();
    iam.change_provider(caller, input.open_id_connect_provider_arn, |provider| {
        provider.client_ids.push(id.clone());
        provider.client_ids = checked_client_ids(without_doubles(Some(std::mem::take(&mut provider.client_ids))))?;
        Ok(())
    })
    .await
}

/// One that is not there is no mistake.
pub(super) async fn remove_client_id_from_open_id_connect_provider(
    iam: &Iam,
    caller: &Caller,
    input: RemoveClientIDFromOpenIDConnectProviderRequest,
) -> Result<Empty, Fault> {
    let id = input.client_id.unwrap_or_default();
    iam.change_provider(caller, input.open_id_connect_provider_arn, |provider| {
        provider.client_ids.retain(|own| *own != id);
        Ok(())
    })
    .await
}

impl Iam {
    async fn change_provider(
        &self,
        caller: &Caller,
        arn: Option<String>,
        change: impl Fn(&mut OidcProvider) -> Result<(), Fault>,
    ) -> Result<Empty, Fault> {
        let arn = arn.unwrap_or_default();
        self.change(&caller.account, |picture, changes| {
            let mut provider = OidcProvider::clone(picture.oidc_provider(&caller.account, &arn)?);
            change(&mut provider)?;
            changes.put(&provider);
            Ok(Empty {})
        })
        .await
    }

    /// The account's provider for the tokens of `issuer`.
    pub(crate) fn provider_of_issuer(&self, account: &str, issuer: &str) -> Option<Arc<OidcProvider>> {
        let name = provider_name(issuer)?.to_lowercase();
        self.look(account, |picture| picture.oidc_providers.get(&name).filter(|row| row.url == issuer).cloned())
    }
}

fn without_doubles(ids: Option<Vec<String>>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for id in ids.unwrap_or_default() {
        if !kept.contains(&id) {
            kept.push(id);
        }
    }
    kept
}

fn checked_client_ids(ids: Vec<String>) -> Result<Vec<String>, Fault> {
    match ids.len() {
        0..=CLIENT_IDS_MAX => Ok(ids),
        _ => Err(fault::quota("ClientIdsPerOpenIdConnectProvider", CLIENT_IDS_MAX)),
    }
}

fn checked_thumbprints(thumbprints: Option<Vec<String>>) -> Result<Vec<String>, Fault> {
    let thumbprints = thumbprints.unwrap_or_default();
    if thumbprints.len() > THUMBPRINTS_MAX {
        return Err(fault::invalid("Thumbprint list must contain fewer than 5 entries."));
    }
    match thumbprints.iter().find(|text| !text.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        Some(_) => Err(fault::validation("Thumbprints must be hexadecimal digits.")),
        None => Ok(thumbprints),
    }
}
