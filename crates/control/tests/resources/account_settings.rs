use serde_json::{Value, json};

use crate::support::{INVALID, Server};

const ROOT: &str = "arn:aws:iam::000000000000:root";
const USER: &str = "arn:aws:iam::000000000000:user/ann";

async fn effective(server: &Server, name: &str) -> Value {
    let input = json!({"name": name, "effectiveSettings": true});
    server.ok("ListAccountSettings", input).await["settings"][0]["value"].clone()
}

#[tokio::test]
async fn a_principal_goes_by_its_own_value_then_the_accounts_then_the_services() {
    let root = Server::new().await;
    let ann = root.as_principal(USER);
    let name = "containerInsights";
    assert_eq!(effective(&ann, name).await, "disabled");
    let answer = root.ok("PutAccountSettingDefault", json!({"name": name, "value": "enabled"})).await;
    assert_eq!(answer["setting"], json!({"name": name, "value": "enabled", "principalArn": ROOT, "type": "user"}));
    assert_eq!(effective(&ann, name).await, "enabled");
    let answer = ann.ok("PutAccountSetting", json!({"name": name, "value": "enhanced"})).await;
    assert_eq!(answer["setting"]["principalArn"], USER);
    assert_eq!(effective(&ann, name).await, "enhanced");
    assert_eq!(effective(&root, name).await, "enabled");
    let stored = ann.ok("ListAccountSettings", json!({})).await;
    assert_eq!(stored["settings"].as_array().unwrap().len(), 1);
    let deleted = ann.ok("DeleteAccountSetting", json!({"name": name})).await;
    assert_eq!(deleted["setting"]["value"], "enhanced");
    assert_eq!(effective(&ann, name).await, "enabled");
    let created = ann.ok("CreateCluster", json!({})).await;
    assert_eq!(created["cluster"]["settings"], json!([{"name": name, "value": "enabled"}]));
}

#[tokio::test]
async fn all_settings_are_listed_in_pages_of_ten() {
    let server = Server::new().await;
    let pages = server.pages("ListAccountSettings", json!({"effectiveSettings": true}), "settings").await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [10, 1]);
    let all = pages.concat();
    assert!(all.iter().all(|setting| setting["principalArn"] == ROOT));
    assert_eq!(all.iter().filter(|setting| setting["type"] == "aws_managed").count(), 1);
    assert_eq!(server.ok("ListAccountSettings", json!({})).await["settings"], json!([]));
    let input = json!({"effectiveSettings": true, "name": "awsvpcTrunking", "value": "enabled"});
    assert_eq!(server.ok("ListAccountSettings", input).await["settings"], json!([]));
}

#[tokio::test]
async fn what_cannot_be_set_is_refused() {
    let server = Server::new().await;
    for (name, value, message) in [
        ("awsvpcTrunking", "on", "Invalid value 'on' for account setting 'awsvpcTrunking'."),
        ("taskLongArnFormat", "disabled", "You can no longer opt out of the account setting 'taskLongArnFormat'."),
        ("guardDutyActivate", "on", "The account setting 'guardDutyActivate' is managed by AWS and cannot be changed."),
    ] {
        server.refused("PutAccountSetting", json!({"name": name, "value": value}), INVALID, message).await;
    }
    let input = json!({"name": "fargateTaskRetirementWaitPeriod", "value": "14"});
    let message = "The account setting 'fargateTaskRetirementWaitPeriod' can be set for the root user only.";
    server.as_principal(USER).refused("PutAccountSetting", input.clone(), INVALID, message).await;
    server.ok("PutAccountSetting", input).await;
    let input = json!({"name": "taskLongArnFormat", "value": "enabled", "principalArn": "arn:aws:iam::1:root"});
    let message = "The principalArn 'arn:aws:iam::1:root' is not valid.";
    server.refused("PutAccountSetting", input, INVALID, message).await;
    let input = json!({"value": "enabled"});
    let message = "You must specify an account setting name to use a value filter.";
    server.refused("ListAccountSettings", input, INVALID, message).await;
    let fault = server.call("PutAccountSetting", json!({"name": "made up", "value": "x"})).await.unwrap_err();
    assert_eq!(fault.code, INVALID);
}
