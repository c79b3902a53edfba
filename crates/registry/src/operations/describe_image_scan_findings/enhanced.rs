//! A finding in the shape of Inspector.

use gantry_scan::inventory::Manager;
use gantry_scan::matching::Finding;
use gantry_scan::severity;

use super::super::*;
use crate::digest::Digest;
use crate::images::FoundImage;
use crate::scanning::rows::ScanRow;

/// What the findings are about.
pub(super) struct Subject<'a> {
    pub(super) keys: &'a RepositoryKeys,
    pub(super) image: &'a FoundImage,
    pub(super) scan: &'a ScanRow,
}

pub(super) fn finding(subject: &Subject<'_>, finding: &Finding) -> EnhancedImageScanFinding {
    let scope = subject.keys.scope();
    let best = severity::best(&finding.cvss);
    let title = format!("{} - {}", finding.name, finding.package.name);
    let fixable = finding.fixed_in.is_some();
    let observed = subject.scan.completed_at_ms.map(wire::timestamp);
    EnhancedImageScanFinding {
        aws_account_id: Some(scope.account.clone()),
        description: Some(finding.description.clone()),
        exploit_available: Some("NO".to_owned()),
        finding_arn: Some(arn(subject, finding)),
        first_observed_at: subject.scan.first_completed_at_ms.map(wire::timestamp),
        fix_available: Some(if fixable { "YES" } else { "NO" }.to_owned()),
        last_observed_at: observed,
        package_vulnerability_details: Some(details(finding)),
        remediation: Some(Remediation {
            recommendation: Some(Recommendation {
                text: Some(match &finding.fixed_in {
                    Some(version) => format!("Update {} to {version}.", finding.package.name),
                    None => "None Provided".to_owned(),
                }),
                url: None,
            }),
        }),
        resources: Some(vec![resource(subject)]),
        score: best.map(|cvss| cvss.score),
        score_details: best.map(|cvss| ScoreDetails {
            cvss: Some(CvssScoreDetails {
                adjustments: Some(Vec::new()),
                score: Some(cvss.score),
                score_source: Some(source(finding)),
                scoring_vector: Some(cvss.vector.clone()),
                version: Some(cvss.version.clone()),
            }),
        }),
        severity: Some(untriaged(finding.severity)),
        status: Some("ACTIVE".to_owned()),
        title: Some(title),
        r#type: Some("PACKAGE_VULNERABILITY".to_owned()),
        updated_at: observed,
    }
}

/// Inspector says `UNTRIAGED` where basic scanning says `UNDEFINED`.
fn untriaged(severity: severity::Severity) -> String {
    match severity {
        severity::Severity::Undefined => "UNTRIAGED".to_owned(),
        severity => severity.as_str().to_owned(),
    }
}

/// The same for the same weakness of the same image, whenever it is looked at.
fn arn(subject: &Subject<'_>, finding: &Finding) -> String {
    let scope = subject.keys.scope();
    let about = format!("{} {} {} {}", subject.keys.arn(), subject.image.digest, finding.name, finding.package.name);
    let id = Digest::of(format!("{about} {}", finding.package.version).as_bytes());
    let (partition, region, account) = (scope.partition(), &scope.region, &scope.account);
    format!("arn:{partition}:inspector2:{region}:{account}:finding/{}", &id.hex()[..32])
}

/// `DEBIAN`, `PYPI`: who publishes the advisory.
fn source(finding: &Finding) -> String {
    finding.ecosystem.split(':').next().unwrap_or_default().to_uppercase().replace(' ', "_")
}

fn details(finding: &Finding) -> PackageVulnerabilityDetails {
    let score = |cvss: &severity::Cvss| CvssScore {
        base_score: Some(cvss.score),
        scoring_vector: Some(cvss.vector.clone()),
        source: Some(source(finding)),
        version: Some(cvss.version.clone()),
    };
    let related = (finding.advisory != finding.name).then(|| finding.advisory.clone());
    PackageVulnerabilityDetails {
        cvss: Some(finding.cvss.iter().map(score).collect()),
        reference_urls: Some(finding.references.clone()),
        related_vulnerabilities: Some(related.into_iter().collect()),
        source: Some(source(finding)),
        source_url: finding.references.first().cloned(),
        vendor_created_at: instant(&finding.published),
        vendor_severity: Some(finding.severity.as_str().to_lowercase()),
        vendor_updated_at: instant(&finding.modified),
        vulnerability_id: Some(finding.name.clone()),
        vulnerable_packages: Some(vec![package(finding)]),
    }
}

fn package(finding: &Finding) -> VulnerablePackage {
    let package = &finding.package;
    let (mut version, mut epoch, mut release) = (package.version.as_str(), None, None);
    if package.manager.is_system() {
        if let Some((number, rest)) = version.split_once(':') {
            (epoch, version) = (number.parse().ok(), rest);
        }
        if let Some((rest, number)) = version.rsplit_once('-') {
            (version, release) = (rest, Some(number.to_owned()));
        }
    }
    let in_a_file = !matches!(package.manager, Manager::Dpkg | Manager::Apk | Manager::Rpm);
    VulnerablePackage {
        arch: Some(package.arch.clone()).filter(|arch| !arch.is_empty()),
        epoch,
        file_path: in_a_file.then(|| package.path.clone()),
        fixed_in_version: finding.fixed_in.clone(),
        name: Some(package.name.clone()),
        package_manager: Some(package.manager.as_str().to_owned()),
        release,
        source_layer_hash: None,
        version: Some(version.to_owned()),
    }
}

fn resource(subject: &Subject<'_>) -> Resource {
    let (keys, image) = (subject.keys, subject.image);
    let tags: Vec<String> = image.row.tags.iter().map(ToString::to_string).collect();
    Resource {
        details: Some(ResourceDetails {
            aws_ecr_container_image: Some(AwsEcrContainerImageDetails {
                image_hash: Some(image.digest.to_string()),
                image_tags: Some(tags),
                pushed_at: Some(wire::timestamp(image.row.pushed_at_ms)),
                registry: Some(keys.scope().account.clone()),
                repository_name: Some(keys.name().to_string()),
                ..AwsEcrContainerImageDetails::default()
            }),
        }),
        id: Some(format!("{}/{}", keys.arn(), image.digest)),
        tags: Some(std::collections::BTreeMap::new()),
        r#type: Some("AWS_ECR_CONTAINER_IMAGE".to_owned()),
    }
}

/// RFC 3339 as a time on the wire.
fn instant(text: &str) -> Option<gantry_api::Timestamp> {
    let parsed = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
    Some(wire::timestamp(i64::try_from(parsed.unix_timestamp_nanos() / 1_000_000).ok()?))
}
