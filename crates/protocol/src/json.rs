//! The awsJson 1.0 and 1.1 protocols: a JSON object in, a JSON object out.

use gantry_api::{Codec, Fault, OperationInfo, ServiceInfo};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

mod objects;

use objects::Objects;

/// Content type of answers.
pub const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// One request's body.
#[derive(Debug, Clone, Copy)]
pub struct Json<'a>(pub &'a [u8]);

impl Codec for Json<'_> {
    fn decode<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        let body = if self.0.iter().all(u8::is_ascii_whitespace) { b"{}" } else { self.0 };
        let refused = |text: String| Fault::new("SerializationException", 400, text);
        if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(refused("Start of structure or map found where not expected.".into()));
        }
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let input = T::deserialize(Objects(&mut deserializer)).map_err(|error| refused(error.to_string()))?;
        deserializer.end().map_err(|error| refused(error.to_string()))?;
        Ok(input)
    }

    fn encode<T: Serialize>(&self, _: &ServiceInfo, _: &OperationInfo, output: &T) -> Result<Vec<u8>, Fault> {
        serde_json::to_vec(output).map_err(|error| internal().caused_by(error))
    }
}

/// The answer when Gantry itself failed; the cause is for the log.
pub fn internal() -> Fault {
    Fault::new("ServerException", 500, "Service Unavailable. Please try again later.")
}

/// The body of an error answer.
pub fn fault_body(fault: &Fault) -> Vec<u8> {
    let mut body = Map::new();
    body.insert("__type".into(), Value::from(fault.code));
    body.insert("message".into(), Value::from(fault.message.as_str()));
    body.extend(fault.fields.iter().map(|(name, value)| ((*name).to_string(), value.clone())));
    Value::Object(body).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_body_is_an_empty_input() {
        let input: gantry_api::ecs::ListClustersRequest = Json(b" ").decode().expect("decodes");
        assert_eq!(input, Default::default());
    }

    #[test]
    fn what_is_no_json_is_a_serialization_exception() {
        for body in [&b"{"[..], b"[]", b"\xff\xfe", b"{\"maxResults\":\"many\"}", b"{\"maxResults\":1e99}"] {
            let fault = Json(body).decode::<gantry_api::ecs::ListClustersRequest>().expect_err("refused");
            assert_eq!((fault.code, fault.status), ("SerializationException", 400));
        }
    }

    #[test]
    fn a_structure_is_an_object_at_every_depth() {
        use gantry_api::ecs::RegisterTaskDefinitionRequest as Request;
        let decode = |body: &str| Json(body.as_bytes()).decode::<Request>();
        let container = r#"{"name":"a","image":"b","portMappings":[{"containerPort":80}],"dockerLabels":{"k":"v"}}"#;
        let good = decode(&format!(r#"{{"family":"f","containerDefinitions":[{container}]}}"#)).expect("decodes");
        let container = &good.container_definitions.expect("has containers")[0];
        assert_eq!(container.port_mappings.as_ref().expect("has ports")[0].container_port, Some(80));
        for body in [
            r#"{"containerDefinitions":[["command"]]}"#,
            r#"{"containerDefinitions":[[]]}"#,
            r#"{"containerDefinitions":[{"portMappings":[[80]]}]}"#,
            r#"{"runtimePlatform":[]}"#,
            r#"{"family":"f"} x"#,
        ] {
            assert_eq!(decode(body).expect_err(body).code, "SerializationException");
        }
    }

    #[test]
    fn deep_nesting_is_refused_and_does_not_overflow_the_stack() {
        let body = "[".repeat(100_000);
        assert!(Json(body.as_bytes()).decode::<gantry_api::ecs::ListClustersRequest>().is_err());
    }

    #[test]
    fn errors_carry_their_further_members() {
        let fault = Fault::new("ConflictException", 400, "no").with_field("resourceIds", vec!["a"]);
        let body: Value = serde_json::from_slice(&fault_body(&fault)).expect("is JSON");
        assert_eq!(body, serde_json::json!({"__type": "ConflictException", "message": "no", "resourceIds": ["a"]}));
    }
}
