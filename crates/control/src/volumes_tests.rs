//! Which configurations of volumes are refused, with which sentence; and what a task gets.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

const ROLE: &str = "arn:aws:iam::000000000000:role/disks";

fn definition(volumes: Value) -> ecs::TaskDefinition {
    serde_json::from_value(json!({"volumes": volumes})).unwrap()
}

/// `changes` over a volume of 10 GiB; `null` takes a member away.
fn asked(changes: Value) -> Vec<ecs::ServiceVolumeConfiguration> {
    let mut managed = json!({"roleArn": ROLE, "sizeInGiB": 10});
    for (name, value) in changes.as_object().unwrap() {
        managed[name] = value.clone();
    }
    serde_json::from_value(json!([{"name": "data", "managedEBSVolume": managed}])).unwrap()
}

fn at_launch() -> ecs::TaskDefinition {
    definition(json!([{"name": "other"}, {"name": "data", "configuredAtLaunch": true}]))
}

fn refused(definition: &ecs::TaskDefinition, asked: &[ecs::ServiceVolumeConfiguration]) -> (String, String) {
    check(definition, LaunchType::Ec2, asked)
        .map_or_else(|fault| (fault.code.to_string(), fault.message), |()| Default::default())
}

#[test]
fn configuration_and_task_definition_must_match() {
    let none = definition(json!([{"name": "data"}]));
    let missing = "Task definition has configuredAtLaunch volume but no volume configuration provided at runtime.";
    let no_match = "Volume configuration provided but no matching configuredAtLaunch volume found in task definition.";
    let sentence = |definition: &ecs::TaskDefinition, asked: &[ecs::ServiceVolumeConfiguration]| {
        let (code, message) = refused(definition, asked);
        assert!(message.is_empty() || code == "InvalidParameterException", "{code}");
        message
    };
    assert_eq!(sentence(&none, &[]), "");
    assert_eq!(sentence(&at_launch(), &asked(json!({}))), "");
    assert_eq!(sentence(&at_launch(), &[]), missing);
    assert_eq!(sentence(&none, &asked(json!({}))), no_match);
    let mut other = asked(json!({}));
    other[0].name = Some("other".to_owned());
    assert_eq!(sentence(&at_launch(), &other), no_match);
    other.extend(asked(json!({})));
    assert_eq!(sentence(&at_launch(), &other), "volumeConfigurations can have at most 1 item.");
    other = vec![ecs::ServiceVolumeConfiguration { name: Some("data".to_owned()), managed_ebs_volume: None }];
    assert_eq!(sentence(&at_launch(), &other), "managedEBSVolume must be specified in volumeConfigurations.");
}

#[test]
fn what_a_volume_cannot_be_is_refused() {
    let unsupported = |member: &str| {
        ("UnsupportedFeatureException".to_owned(), format!("Gantry does not support managedEBSVolume {member} yet."))
    };
    let invalid = |message: &str| ("InvalidParameterException".to_owned(), message.to_owned());
    for (changes, expected) in [
        (json!({"encrypted": false, "filesystemType": "ext4", "volumeType": "gp2"}), Default::default()),
        (json!({"encrypted": true}), unsupported("encrypted")),
        (json!({"kmsKeyId": "k"}), unsupported("kmsKeyId")),
        (json!({"snapshotId": "snap-1", "sizeInGiB": null}), unsupported("snapshotId")),
        (json!({"volumeInitializationRate": 100}), unsupported("volumeInitializationRate")),
        (json!({"filesystemType": "ntfs"}), unsupported("filesystemType 'ntfs'")),
        (json!({"sizeInGiB": null}), invalid("Either sizeInGiB or snapshotId must be specified.")),
        (json!({"sizeInGiB": 0}), invalid("Volume of 0GiB is too small for volume type gp3; minimum is 1GiB.")),
        (
            json!({"tagSpecifications": [{"resourceType": "task"}]}),
            invalid("The resourceType of tagSpecifications must be volume."),
        ),
        (
            json!({"tagSpecifications": [{"resourceType": "volume", "tags": [{"key": "AmazonECSManaged"}]}]}),
            invalid("The tag key AmazonECSManaged is reserved by Amazon ECS."),
        ),
    ] {
        assert_eq!(refused(&at_launch(), &asked(changes.clone())), expected, "{changes}");
    }
}

#[test]
fn a_volume_gets_its_tags_and_those_it_inherits() {
    let own = json!({"resourceType": "volume", "propagateTags": "SERVICE", "tags": [{"key": "a", "value": "own"}]});
    let configurations = asked(json!({"tagSpecifications": [own], "filesystemType": "ext3"}));
    let tags = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let (of_definition, of_service) = (tags(&[("d", "1")]), tags(&[("a", "service"), ("s", "2")]));
    let inherited = Inherited {
        task_definition: &of_definition,
        service: Some(&of_service),
        managed: &[("aws:ecs:clusterName", "c")],
    };
    let template = template(&configurations, LaunchType::Ec2, true, inherited).unwrap();
    let expected = tags(&[
        ("AmazonECSCreated", "true"),
        ("AmazonECSManaged", "true"),
        ("a", "own"),
        ("aws:ecs:clusterName", "c"),
        ("s", "2"),
    ]);
    assert_eq!(template.tags.iter().cloned().collect::<BTreeMap<_, _>>(), expected);
    assert_eq!((template.size_gib, template.filesystem.as_deref()), (10, Some("ext3")));
    let (random, waits) = (Random::seeded(1), false);
    let record = template.record(waits, &random);
    assert_eq!(record.status, AttachmentStatus::Precreated);
    assert_eq!(template.record(true, &random).status, AttachmentStatus::Created);
    assert!(record.id.starts_with("vol-0") && record.id.len() == 21, "{}", record.id);
}

#[test]
fn a_task_says_whether_its_volume_outlives_it() {
    let of = |managed: Value| {
        let asked = json!([{"name": "data", "managedEBSVolume": managed}]);
        of_task(serde_json::from_value(asked).unwrap()).map(|(_, deletes)| deletes)
    };
    assert!(of(json!({})).unwrap());
    assert!(of(json!({"terminationPolicy": {"deleteOnTermination": true}})).unwrap());
    assert!(!of(json!({"terminationPolicy": {"deleteOnTermination": false}})).unwrap());
    let from_service = json!({"tagSpecifications": [{"resourceType": "volume", "propagateTags": "SERVICE"}]});
    assert!(of(from_service).unwrap_err().message.contains("propagateTags SERVICE"));
    assert_eq!(of_task(None).unwrap(), (Vec::new(), true));
}
