//! `gantry instance`: the machines that joined and those that may.

use std::process::ExitCode;

use anyhow::Result;
use gantry_companions::machines::{MachineView, NewToken, TokenOrder, TokenView};

use crate::{
    arguments::{ClientOptions, InstanceCommand, InstanceTokenCommand, Output},
    client::Client,
    server::own::{Empty, GANTRY, ListMachinesRequest, ListMachinesResponse, RevokeRequest},
};

/// Lists and revokes machines and join tokens.
pub(crate) async fn run(command: &InstanceCommand) -> Result<ExitCode> {
    match command {
        InstanceCommand::List(options) => list(options).await?,
        InstanceCommand::Revoke(options) => {
            let request = RevokeRequest { id: options.id.clone() };
            let Empty {} = Client::new(&options.client)?.own(GANTRY.signing_name, "revoke-machine", &request).await?;
            eprintln!("Machine {} is let in no more. What runs on it goes on; its instance is away.", options.id);
        }
        InstanceCommand::Token(command) => token(command).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(options: &ClientOptions) -> Result<()> {
    let client = Client::new(options)?;
    let mut machines: Vec<MachineView> = Vec::new();
    loop {
        let input = ListMachinesRequest { after: machines.last().map(|machine| machine.id.clone()) };
        let page: ListMachinesResponse = client.own(GANTRY.signing_name, "list-machines", &input).await?;
        if page.machines.is_empty() {
            break;
        }
        machines.extend(page.machines);
    }
    match options.output.output {
        Output::Json => super::print(&(serde_json::to_string_pretty(&machines)? + "\n")),
        Output::Text => {
            let row = |machine: &MachineView| {
                let MachineView { id, name, address, platform, joined_with, .. } = machine.clone();
                vec![id, name, address, platform, joined_with, moment(machine.joined_at)]
            };
            let titles = ["ID", "NAME", "ADDRESS", "PLATFORM", "JOINED WITH", "JOINED"];
            super::print(&super::table(&titles, machines.iter().map(row)));
        }
    }
    Ok(())
}

async fn token(command: &InstanceTokenCommand) -> Result<()> {
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
            let request = RevokeRequest { id: options.id.clone() };
            let Empty {} = client.own(GANTRY.signing_name, "revoke-join-token", &request).await?;
            eprintln!("Token {} lets nobody in any more. Machines that joined with it stay.", options.id);
        }
    }
    Ok(())
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
