//! `DescribeImageScanFindings`: in the shape of basic scanning, or in Inspector's while the registry's scan type is
//! ENHANCED.

mod enhanced;

use gantry_scan::matching::Finding;

use super::*;
use crate::scanning::read_findings;
use crate::scanning::rows::{ScanRow, ScanStatus as Status};
use crate::scanning::rules::Frequency;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: DescribeImageScanFindingsRequest,
) -> Result<DescribeImageScanFindingsResponse, RegistryError> {
    let keys = request.repository(registry, input.registry_id.as_deref(), input.repository_name.as_deref()).await?;
    let id = input.image_id.unwrap_or_default();
    let image = wire::image(registry, &keys, &id).await?;
    let Some(scan) = registry.scan_get(&keys, &image.digest).await? else {
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "null".to_owned());
        return Err(RegistryError::ScanNotFound {
            digest: text(&id.image_digest),
            tag: text(&id.image_tag),
            name: keys.name().to_string(),
            registry: keys.scope().account.clone(),
        });
    };
    let scan = scan.row;
    let scanning = registry.scanning(keys.scope()).await?;
    let question = format!("DescribeImageScanFindings {} {} {}", keys.scope().account, keys.name(), image.digest);
    let pager = wire::pager(&question, input.max_results);
    let after = pager.after(input.next_token.as_deref()).map_err(wire::bad_token)?;
    let limit = wire::page_limit(input.max_results);
    let findings = read_findings(registry, &keys, &image.digest, &scan, after.as_deref(), limit).await?;
    let page = pager.page(findings, Finding::sort_key);
    let continuous = scanning.effective(keys.name().as_str()).frequency == Frequency::ContinuousScan;
    let (findings, enhanced_findings) = if scanning.enhanced {
        let subject = enhanced::Subject { keys: &keys, image: &image, scan: &scan };
        (None, Some(page.items.iter().map(|finding| enhanced::finding(&subject, finding)).collect()))
    } else {
        (Some(page.items.into_iter().map(basic).collect()), None)
    };
    let result = ImageScanFindings {
        image_scan_completed_at: scan.completed_at_ms.map(wire::timestamp),
        vulnerability_source_updated_at: scan.source_updated_at_ms.map(wire::timestamp),
        finding_severity_counts: Some(scan.counts.clone()),
        findings,
        enhanced_findings,
    };
    Ok(DescribeImageScanFindingsResponse {
        registry_id: Some(keys.scope().account.clone()),
        repository_name: Some(keys.name().to_string()),
        image_id: Some(ImageIdentifier { image_digest: Some(image.digest.to_string()), ..id }),
        image_scan_status: Some(match image.row.archived {
            true => wire::archived_scan_status(),
            false => wire::scan_status(&scan, scanning.enhanced && continuous),
        }),
        // An empty list would say that there is nothing to find.
        image_scan_findings: (has_findings(&scan) && !image.row.archived).then_some(result),
        next_token: page.next_token,
    })
}

/// Whether there is a list of findings, of this scan or of the one before the one under way.
fn has_findings(scan: &ScanRow) -> bool {
    match scan.status {
        Status::Complete => true,
        Status::InProgress => scan.database.is_some(),
        _ => false,
    }
}

fn basic(finding: Finding) -> ImageScanFinding {
    let attribute = |key: &str, value: String| Attribute { key: Some(key.to_owned()), value: Some(value) };
    let mut attributes =
        vec![attribute("package_version", finding.package.version), attribute("package_name", finding.package.name)];
    for cvss in &finding.cvss {
        let standard = cvss.version.split('.').next().unwrap_or_default();
        attributes.push(attribute(&format!("CVSS{standard}_VECTOR"), cvss.vector.clone()));
        attributes.push(attribute(&format!("CVSS{standard}_SCORE"), format!("{:.1}", cvss.score)));
    }
    if let Some(fixed) = finding.fixed_in {
        attributes.push(attribute("fixed_in_version", fixed));
    }
    ImageScanFinding {
        name: Some(finding.name),
        description: Some(finding.description).filter(|text| !text.is_empty()),
        uri: finding.references.into_iter().next(),
        severity: Some(FindingSeverity::from(finding.severity.as_str())),
        attributes: Some(attributes),
    }
}
