//! `gantry push`: an image into the registry without any other tool.

use std::{
    io::IsTerminal,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use gantry_api::ecr::{self, GetAuthorizationTokenResponse};
use gantry_registry::push::{self, ImageConfig, Progress, Pushed, Source, Target};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::{
    Hint,
    arguments::{Output, PushOptions},
    client::Client,
};

/// Pushes and says where the image is now.
pub(crate) async fn run(options: PushOptions) -> Result<ExitCode> {
    let (repository, tag) = split(&options.image)?;
    let config = ImageConfig {
        cmd: words(options.cmd.as_deref(), "--cmd")?,
        entrypoint: words(options.entrypoint.as_deref(), "--entrypoint")?,
        ..ImageConfig::default()
    };
    let source = Source::detect(&options.source, config, None)?;
    if !matches!(source, Source::Directory { .. }) && (options.cmd.is_some() || options.entrypoint.is_some()) {
        bail!("--cmd and --entrypoint are for images made from a directory; this one brings its own");
    }
    let client = Client::new(&options.client)?;
    ensure_repository(&client, repository).await?;
    let (username, password) = login(&client).await?;
    let target = Target {
        endpoint: client.endpoint.clone(),
        repository: repository.to_string(),
        tag: tag.to_string(),
        username,
        password,
    };
    let started = Instant::now();
    let bar = ProgressBar::hidden();
    if std::io::stderr().is_terminal() {
        bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec}")?);
    }
    let report = {
        let bar = bar.clone();
        Arc::new(move |progress| show(&bar, &progress))
    };
    let http = reqwest::Client::builder().connect_timeout(Duration::from_secs(5)).build()?;
    let pushed = push::push(&http, &target, source, report).await.context("push failed")?;
    bar.finish_and_clear();
    print_result(&options, &client, repository, tag, &pushed, started.elapsed());
    Ok(ExitCode::SUCCESS)
}

fn show(bar: &ProgressBar, progress: &Progress) {
    match progress {
        Progress::Prepared { bytes, .. } => bar.set_length(*bytes),
        Progress::Present { size, .. } => bar.inc(*size),
        Progress::Sent { bytes, .. } => bar.inc(*bytes),
        Progress::Started { .. } | Progress::Finished { .. } => {}
    }
}

fn print_result(options: &PushOptions, client: &Client, repository: &str, tag: &str, pushed: &Pushed, took: Duration) {
    let digest = pushed.digest.to_string();
    if options.client.output.output == Output::Json {
        let answer = json!({
            "repository": repository, "tag": tag, "digest": digest, "blobsSent": pushed.blobs_sent,
            "blobsPresent": pushed.blobs_present, "bytesSent": pushed.bytes_sent,
        });
        super::print(&format!("{answer}\n"));
        return;
    }
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let mebibytes = pushed.bytes_sent as f64 / f64::from(1 << 20);
    eprintln!(
        "pushed {} blobs ({mebibytes:.1} MiB, {} there already) in {:.1} s to {}",
        pushed.blobs_sent,
        pushed.blobs_present,
        took.as_secs_f64(),
        client.endpoint
    );
    super::print(&format!("{repository}:{tag}@{digest}\n"));
}

/// `NAME:TAG`, the tag `latest` when none is given; a registry host in front is not part of it.
fn split(image: &str) -> Result<(&str, &str)> {
    let (repository, tag) = match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (image, "latest"),
    };
    let first = repository.split('/').next().unwrap_or_default();
    if repository.is_empty() || tag.is_empty() || first.contains(':') {
        return Err(Hint::error(
            format!("'{image}' is not a repository and tag"),
            "name it like web:1; the registry is Gantry's own",
        ));
    }
    Ok((repository, tag))
}

/// A JSON array of strings, or a line for the shell.
fn words(text: Option<&str>, flag: &str) -> Result<Vec<String>> {
    match text {
        None => Ok(Vec::new()),
        Some(text) if text.trim_start().starts_with('[') => {
            serde_json::from_str(text).with_context(|| format!("{flag} is not a JSON array of strings"))
        }
        Some(text) => Ok(vec!["/bin/sh".to_string(), "-c".to_string(), text.to_string()]),
    }
}

async fn ensure_repository(client: &Client, repository: &str) -> Result<()> {
    let created: Result<ecr::CreateRepositoryResponse> =
        client.call(&ecr::SERVICE, "CreateRepository", &json!({ "repositoryName": repository })).await;
    match created {
        Err(error) if !error.to_string().contains("RepositoryAlreadyExistsException") => Err(error),
        _ => Ok(()),
    }
}

async fn login(client: &Client) -> Result<(String, String)> {
    let answer: GetAuthorizationTokenResponse = client.call(&ecr::SERVICE, "GetAuthorizationToken", &json!({})).await?;
    let data = answer.authorization_data.unwrap_or_default().into_iter().next().unwrap_or_default();
    let token = STANDARD.decode(data.authorization_token.unwrap_or_default()).context("the token is not base64")?;
    let token = String::from_utf8(token).context("the token is not text")?;
    let (user, password) = token.split_once(':').context("the token is not USER:PASSWORD")?;
    Ok((user.to_string(), password.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_named_by_repository_and_tag() {
        assert_eq!(split("web:1").expect("splits"), ("web", "1"));
        assert_eq!(split("team/web").expect("splits"), ("team/web", "latest"));
        for wrong in ["", ":1", "web:", "localhost:4566/web:1"] {
            assert!(split(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn commands_are_arrays_or_lines_for_the_shell() {
        assert_eq!(words(Some(r#"["a", "b c"]"#), "--cmd").expect("reads"), ["a", "b c"]);
        assert_eq!(words(Some("a b"), "--cmd").expect("reads"), ["/bin/sh", "-c", "a b"]);
        assert!(words(Some("[1]"), "--cmd").is_err());
    }
}
