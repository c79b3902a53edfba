//! `gantry instance`: the machines that may join.

use std::process::ExitCode;

use anyhow::Result;
use gantry_companions::machines::{NewToken, TokenOrder, TokenView};

use crate::{
    arguments::{InstanceCommand, InstanceTokenCommand, Output},
    client::Client,
    server::own::{GANTRY, RevokeTokenRequest},
};

/// Makes, lists and revokes join tokens.
pub(crate) async fn run(command: &InstanceCommand) -> Result<ExitCode> {
    let InstanceCommand::Token(command) = command;
    match command {
        InstanceTokenCommand::Create(options) => {
            let order = TokenOrder {
                cluster: options.cluster.clone(),
                uses: Some(options.uses),
                ttl_seconds: Some(options.ttl),
                fargate: options.fargate,
            };
            let client = Client::new(&options.client)?;
            let new: NewToken = client.own(GANTRY.signing_name, "create-join-token", &order).await?;
            match options.client.output.output {
                Output::Json => super::print(&(serde_json::to_string_pretty(&new)? + "\n")),
                Output::Text => {
                    eprintln!(
                        "For {} machine(s) until {}. It is shown this once:",
                        new.view.uses,
                        moment(new.view.expires_at)
                    );
                    super::print(&(new.token + "\n"));
                }
            }
        }
        InstanceTokenCommand::List(options) => {
            let client = Client::new(options)?;
            let tokens: Vec<TokenView> =
                client.own(GANTRY.signing_name, "list-join-tokens", &serde_json::json!({})).await?;
            match options.output.output {
                Output::Json => super::print(&(serde_json::to_string_pretty(&tokens)? + "\n")),
                Output::Text => super::print(&table(&tokens)),
            }
        }
        InstanceTokenCommand::Revoke(options) => {
            let client = Client::new(&options.client)?;
            let request = RevokeTokenRequest { id: options.id.clone() };
            let _: serde_json::Value = client.own(GANTRY.signing_name, "revoke-join-token", &request).await?;
            eprintln!("Token {} lets nobody in any more. Machines that joined with it stay.", options.id);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(tokens: &[TokenView]) -> String {
    let row = |token: &TokenView| {
        vec![
            token.id.clone(),
            token.cluster.clone().unwrap_or_else(|| "any".to_owned()),
            format!("{} of {}", token.uses_left, token.uses),
            moment(token.expires_at),
            if token.fargate { "yes" } else { "no" }.to_owned(),
        ]
    };
    super::table(&["ID", "CLUSTER", "LEFT", "EXPIRES", "FARGATE"], tokens.iter().map(row))
}

fn moment(ms: u64) -> String {
    super::time(i64::try_from(ms).unwrap_or(i64::MAX))
}
