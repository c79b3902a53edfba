//! Long-term access keys of users. A secret is shown once, kept encrypted, and never logged.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gantry_api::iam::{
    AccessKeyLastUsed, AccessKeyMetadata, CreateAccessKeyRequest, CreateAccessKeyResponse, DeleteAccessKeyRequest,
    GetAccessKeyLastUsedRequest, GetAccessKeyLastUsedResponse, ListAccessKeysRequest, ListAccessKeysResponse,
    StatusType, UpdateAccessKeyRequest,
};
use gantry_api::{Caller, Empty, Fault, iam};

use super::paging::asked;
use super::rows::{AccessKey, User};
use super::users::own_name;
use super::{Iam, fault, names, wire};

/// Keys a user may have.
const KEYS_MAX: usize = 2;

pub(super) async fn create_access_key(
    iam: &Iam,
    caller: &Caller,
    input: CreateAccessKeyRequest,
) -> Result<CreateAccessKeyResponse, Fault> {
    let name = own_name(caller, input.user_name)?;
    let (id, secret) = (names::access_key_id()?, names::secret()?);
    let sealed = iam.inner.sealer.seal(&sealing_context(&id), secret.as_bytes()).map_err(fault::unavailable)?;
    let key = AccessKey { id, sealed_secret: STANDARD.encode(sealed), active: true, created_at: iam.now() };
    let user_name = iam
        .change(&caller.account, |picture, changes| {
            let mut user = User::clone(picture.user(&name)?);
            if user.keys.len() >= KEYS_MAX {
                return Err(fault::quota("AccessKeysPerUser", KEYS_MAX));
            }
            user.keys.push(key.clone());
            changes.put(&user);
            Ok(user.name)
        })
        .await?;
    let shown = iam::AccessKey {
        access_key_id: Some(key.id),
        create_date: wire::time(key.created_at),
        secret_access_key: Some(secret),
        status: Some(StatusType::Active),
        user_name: Some(user_name),
    };
    Ok(CreateAccessKeyResponse { access_key: Some(shown) })
}

pub(super) async fn list_access_keys(
    iam: &Iam,
    caller: &Caller,
    input: ListAccessKeysRequest,
) -> Result<ListAccessKeysResponse, Fault> {
    let name = own_name(caller, input.user_name.clone())?;
    let question = format!("ListAccessKeys {} {name}", caller.account);
    let page = iam.look(&caller.account, |picture| {
        let user = picture.user(&name)?;
        let mut keys: Vec<&AccessKey> = user.keys.iter().collect();
        keys.sort_by(|left, right| left.id.cmp(&right.id));
        let shown = |key: &AccessKey| AccessKeyMetadata {
            access_key_id: Some(key.id.clone()),
            create_date: wire::time(key.created_at),
            status: Some(if key.active { StatusType::Active } else { StatusType::Inactive }),
            user_name: Some(user.name.clone()),
        };
        asked!(input).page(&question, keys.into_iter().map(|key| (key.id.clone(), shown(key))))
    })?;
    Ok(ListAccessKeysResponse {
        access_key_metadata: Some(page.items),
        is_truncated: page.is_truncated,
        marker: page.marker,
    })
}

pub(super) async fn update_access_key(
    iam: &Iam,
    caller: &Caller,
    input: UpdateAccessKeyRequest,
) -> Result<Empty, Fault> {
    let name = own_name(caller, input.user_name)?;
    let id = input.access_key_id.unwrap_or_default();
    let active = match input.status {
        Some(StatusType::Active) => true,
        Some(StatusType::Inactive) => false,
        _ => return Err(fault::invalid("The status of an access key can be set to Active or Inactive.")),
    };
    iam.change(&caller.account, |picture, changes| {
        let mut user = User::clone(picture.user(&name)?);
        let key = user.keys.iter_mut().find(|key| key.id == id).ok_or_else(|| fault::no_access_key(&id))?;
        key.active = active;
        changes.put(&user);
        Ok(Empty {})
    })
    .await
}

pub(super) async fn delete_access_key(
    iam: &Iam,
    caller: &Caller,
    input: DeleteAccessKeyRequest,
) -> Result<Empty, Fault> {
    let name = own_name(caller, input.user_name)?;
    let id = input.access_key_id.unwrap_or_default();
    iam.change(&caller.account, |picture, changes| {
        let mut user = User::clone(picture.user(&name)?);
        let before = user.keys.len();
        user.keys.retain(|key| key.id != id);
        if user.keys.len() == before {
            return Err(fault::no_access_key(&id));
        }
        changes.put(&user);
        Ok(Empty {})
    })
    .await
}

pub(super) async fn get_access_key_last_used(
    iam: &Iam,
    caller: &Caller,
    input: GetAccessKeyLastUsedRequest,
) -> Result<GetAccessKeyLastUsedResponse, Fault> {
    let id = input.access_key_id.unwrap_or_default();
    let owner = {
        let picture = iam.inner.view.read();
        picture.key_owner(&id).filter(|(account, _)| *account == caller.account).map(|(_, user)| user.name.clone())
    };
    let user_name = owner.ok_or_else(|| fault::no_access_key(&id))?;
    let used = iam.inner.keyring.last_used(&id);
    let not_yet = || "N/A".to_owned();
    let last_used = AccessKeyLastUsed {
        last_used_date: used.as_ref().and_then(|used| wire::time(used.at * 1000)),
        region: Some(used.as_ref().map_or_else(not_yet, |used| used.region.clone())),
        service_name: Some(used.map_or_else(not_yet, |used| used.service)),
    };
    Ok(GetAccessKeyLastUsedResponse { user_name: Some(user_name), access_key_last_used: Some(last_used) })
}

/// What the secret of a key is sealed for.
pub(super) fn sealing_context(access_key_id: &str) -> String {
    format!("iam access key {access_key_id}")
}
