//! `gantry env`: shell exports for the AWS CLI and SDKs.

use std::{path::Path, process::ExitCode};

use anyhow::Result;

use crate::{
    accounts,
    arguments::{EnvOptions, Output},
    client::Client,
    config::{DEFAULT_DATA_DIR, Running},
};

/// Prints the exports to standard output.
pub(crate) fn run(options: &EnvOptions) -> Result<ExitCode> {
    let client = Client::new(&options.client)?;
    let data_dir = options.client.data_dir.as_deref().unwrap_or(Path::new(DEFAULT_DATA_DIR));
    let (account, key) = match &options.account {
        Some(account) => (account.clone(), accounts::root_key(data_dir, account)?),
        None => (Running::read(data_dir).map(|running| running.account).unwrap_or_default(), client.key.clone()),
    };
    let pairs = [
        ("AWS_ENDPOINT_URL", client.endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", key.id.as_str()),
        ("AWS_SECRET_ACCESS_KEY", key.secret.as_str()),
        ("AWS_REGION", client.region.as_str()),
        ("AWS_DEFAULT_REGION", client.region.as_str()),
        ("AWS_ACCOUNT_ID", account.as_str()),
    ];
    let mut out = String::new();
    match options.client.output.output {
        Output::Json => {
            let map: std::collections::BTreeMap<_, _> = pairs.into_iter().collect();
            out = serde_json::to_string_pretty(&map)? + "\n";
        }
        Output::Text => {
            for (name, value) in pairs {
                out += &format!("export {name}='{value}'\n");
            }
            out += "unset AWS_SESSION_TOKEN AWS_PROFILE\n";
        }
    }
    super::print(&out);
    Ok(ExitCode::SUCCESS)
}
