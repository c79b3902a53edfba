//! `gantry registry`: the registry as a whole. Its commands ask the running server, a step at a time.

use std::process::ExitCode;

use anyhow::Result;
use gantry_registry::{
    collect::Collected,
    verify::{Counts, VerifyPage},
};
use serde_json::json;

use crate::{
    arguments::{GcOptions, Output, RegistryCommand, SigningCertificateOptions, VerifyOptions},
    client::Client,
    server::own::{
        CollectRequest, CollectResponse, GANTRY, SigningCertificateRequest, SigningCertificateResponse, VerifyRequest,
    },
};

/// Runs `gantry registry …`.
pub(crate) async fn run(command: &RegistryCommand) -> Result<ExitCode> {
    match command {
        RegistryCommand::Verify(options) => verify(options).await,
        RegistryCommand::Gc(options) => gc(options).await,
        RegistryCommand::SigningCertificate(options) => signing_certificate(options).await,
        RegistryCommand::Lifecycle(command) => super::lifecycle::run(command).await,
    }
}

/// Prints each problem as it is found, then what was gone over.
async fn verify(options: &VerifyOptions) -> Result<ExitCode> {
    let client = Client::new(&options.client)?;
    let json = options.client.output.output == Output::Json;
    let mut input = VerifyRequest { after: None, quick: options.quick };
    let (mut counts, mut problems) = (Counts::default(), 0_u64);
    loop {
        let page: VerifyPage = client.own(GANTRY.signing_name, "verify-registry", &input).await?;
        for problem in &page.problems {
            problems += 1;
            super::print(&match json {
                true => serde_json::to_string(problem)? + "\n",
                false => format!("{} {}\n", problem.subject, problem.problem),
            });
        }
        add(&mut counts, page.counts);
        match page.next {
            Some(next) => input.after = Some(next),
            None => break,
        }
    }
    super::print(&match json {
        true => json!({"counts": counts, "problems": problems}).to_string() + "\n",
        false => summary(counts, problems),
    });
    Ok(if problems == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn add(sum: &mut Counts, more: Counts) {
    sum.repositories += more.repositories;
    sum.images += more.images;
    sum.tags += more.tags;
    sum.links += more.links;
    sum.blobs += more.blobs;
    sum.bytes += more.bytes;
    sum.unlinked += more.unlinked;
}

fn summary(counts: Counts, problems: u64) -> String {
    let Counts { repositories, images, tags, blobs, bytes, unlinked, .. } = counts;
    let verdict = if problems == 0 { "everything is whole".to_string() } else { format!("problems: {problems}") };
    format!(
        "repositories: {repositories}, images: {images}, tags: {tags}, blobs: {blobs} ({bytes} bytes), of no \
         repository: {unlinked}\n{verdict}\n"
    )
}

async fn gc(options: &GcOptions) -> Result<ExitCode> {
    let client = Client::new(&options.client)?;
    let mut input = CollectRequest { after: None, dry_run: options.dry_run };
    let mut sum = Collected::default();
    loop {
        let page: CollectResponse = client.own(GANTRY.signing_name, "collect-garbage", &input).await?;
        sum.links += page.collected.links;
        sum.blobs += page.collected.blobs;
        sum.bytes += page.collected.bytes;
        match page.next {
            Some(next) => input.after = Some(next),
            None => break,
        }
    }
    let verb = if options.dry_run { "would be removed" } else { "removed" };
    super::print(&match options.client.output.output {
        Output::Json => json!({"links": sum.links, "blobs": sum.blobs, "bytes": sum.bytes}).to_string() + "\n",
        Output::Text => format!("{verb}: {} blobs ({} bytes), {} links\n", sum.blobs, sum.bytes, sum.links),
    });
    Ok(ExitCode::SUCCESS)
}

async fn signing_certificate(options: &SigningCertificateOptions) -> Result<ExitCode> {
    let client = Client::new(&options.client)?;
    let input = SigningCertificateRequest { profile: options.profile.clone() };
    let found: SigningCertificateResponse = client.own("ecr", "signing-certificate", &input).await?;
    super::print(&match options.client.output.output {
        Output::Json => serde_json::to_string(&found)? + "\n",
        Output::Text => found.certificate,
    });
    Ok(ExitCode::SUCCESS)
}
