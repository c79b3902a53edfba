//! The Query protocol: a form in (`Tags.member.1.Key=…`), XML out.

mod form;
mod xml;

use gantry_api::{Codec, Fault, OperationInfo, ServiceInfo};
use serde::{Serialize, de::DeserializeOwned};

pub use form::Form;

/// Content type of answers.
pub const CONTENT_TYPE: &str = "text/xml";

/// One request.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// The parsed form.
    pub form: &'a Form,
    /// Stands in the answer's metadata.
    pub request_id: &'a str,
}

impl Codec for Query<'_> {
    fn decode<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        self.form.decode().map_err(|error| Fault::new("MalformedInput", 400, error.to_string()))
    }

    fn encode<T: Serialize>(
        &self,
        service: &ServiceInfo,
        operation: &OperationInfo,
        output: &T,
    ) -> Result<Vec<u8>, Fault> {
        let name = operation.name;
        let result = xml::to_string(output)
            .map_err(|error| Fault::new("InternalFailure", 500, "Service Unavailable.").caused_by(error))?;
        let result = match operation.result_wrapper {
            "" => result,
            wrapper => format!("<{wrapper}>{result}</{wrapper}>"),
        };
        let metadata = format!("<ResponseMetadata><RequestId>{}</RequestId></ResponseMetadata>", self.request_id);
        let namespace = service.xml_namespace;
        Ok(format!("<{name}Response xmlns=\"{namespace}\">{result}{metadata}</{name}Response>\n").into_bytes())
    }
}

/// The body of an error answer.
pub fn fault_body(fault: &Fault, namespace: &str, request_id: &str) -> Vec<u8> {
    let side = if fault.status >= 500 { "Receiver" } else { "Sender" };
    let message = xml::escape(&fault.message);
    format!(
        "<ErrorResponse xmlns=\"{namespace}\"><Error><Type>{side}</Type><Code>{}</Code><Message>{message}</Message>\
         </Error><RequestId>{request_id}</RequestId></ErrorResponse>\n",
        fault.code
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nested_form_becomes_a_typed_input() {
        let form = Form::parse(
            b"Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&DurationSeconds=900\
              &Tags.member.1.Key=a&Tags.member.1.Value=b+c&Tags.member.2.Key=d&Tags.member.2.Value=",
        )
        .expect("parses");
        assert_eq!(form.get("Action"), Some("AssumeRole"));
        let query = Query { form: &form, request_id: "r" };
        let input: gantry_api::sts::AssumeRoleRequest = query.decode().expect("decodes");
        assert_eq!(input.role_arn.as_deref(), Some("arn:aws:iam::1:role/r"));
        assert_eq!(input.duration_seconds, Some(900));
        let tags = input.tags.expect("has tags");
        assert_eq!(tags[0].value.as_deref(), Some("b c"));
        assert_eq!((tags[1].key.as_deref(), tags[1].value.as_deref()), (Some("d"), Some("")));
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        let form = Form::parse(b"DurationSeconds=soon").expect("parses");
        let query = Query { form: &form, request_id: "r" };
        let fault = query.decode::<gantry_api::sts::AssumeRoleRequest>().expect_err("refused");
        assert_eq!((fault.code, fault.status), ("MalformedInput", 400));
    }

    #[test]
    fn an_answer_is_wrapped_and_escaped() {
        let form = Form::default();
        let output = gantry_api::sts::GetCallerIdentityResponse {
            account: Some("1".into()),
            arn: Some("a<b&c".into()),
            user_id: Some("u".into()),
        };
        let info = gantry_api::sts::OPERATIONS.iter().find(|info| info.name == "GetCallerIdentity").expect("is there");
        let body =
            Query { form: &form, request_id: "r" }.encode(&gantry_api::sts::SERVICE, info, &output).expect("encodes");
        assert_eq!(
            String::from_utf8(body).expect("is text"),
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
             <Account>1</Account><Arn>a&lt;b&amp;c</Arn><UserId>u</UserId></GetCallerIdentityResult>\
             <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></GetCallerIdentityResponse>\n"
        );
    }
}
