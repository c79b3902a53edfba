//! What Parameter Store says when it refuses. The sentences are the real service's where they are known.

use std::error::Error;

use gantry_api::Fault;
use gantry_api::ssm::fault;
use gantry_domain::parameter::filter::FilterError;
use gantry_domain::parameter::name::NameError;
use gantry_domain::parameter::policies::PolicyError;
use gantry_domain::parameter::versions::VersionError;
use gantry_domain::tags::TagError;
use gantry_store::StoreError;

pub(super) use crate::ssm::fault::{bad_token, internal as unavailable, validation};

pub(super) fn not_found(name: &str) -> Fault {
    fault::parameter_not_found(format!("Parameter {name} not found."))
}

/// A secret that is read as a parameter cannot be.
pub(super) fn of_secret(name: &str, inner: &Fault) -> Fault {
    match inner.code {
        "AccessDeniedException" => Fault::new("AccessDeniedException", 400, inner.message.clone()),
        "ResourceNotFoundException" => fault::parameter_not_found(format!(
            "An error occurred (ParameterNotFound) when referencing Secrets Manager: Secret {name} not found."
        )),
        code => validation(format!("An error occurred ({code}) when referencing Secrets Manager: {}", inner.message)),
    }
}

pub(super) fn exists() -> Fault {
    fault::parameter_already_exists(
        "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.",
    )
}

pub(super) fn name(name: &str, error: NameError) -> Fault {
    match error {
        NameError::Reserved => {
            Fault::new("AccessDeniedException", 400, format!("No access to reserved parameter name: {name}."))
        }
        NameError::NotQualified => validation("Parameter name must be a fully qualified name."),
        NameError::TooDeep => fault::hierarchy_level_limit_exceeded_exception(
            "A hierarchy can have a maximum of 15 levels. For more information, see Requirements and constraints for \
             parameter names.",
        ),
        NameError::TooLong { max } => validation(format!(
            "Parameter name is too long: with the beginning of its ARN it can have at most 1011 characters, which \
             leaves {max} for the name."
        )),
        NameError::Form => validation(
            "Parameter name: can't be prefixed with \"aws\" or \"ssm\" (case-insensitive). If formed as a path, it \
             can consist of sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, \
             numbers and the following 3 symbols .-_",
        ),
    }
}

/// A path that is none.
pub(super) fn path() -> Fault {
    validation(
        "The parameter doesn't meet the parameter name requirements. The parameter name must begin with a forward \
         slash \"/\". It can't be prefixed with \"aws\" or \"ssm\" (case-insensitive). It must use only letters, \
         numbers, or the following symbols: . (period), - (hyphen), _ (underscore). Special characters are not \
         allowed. All sub-paths, if specified, must use the forward slash symbol \"/\". Valid example: \
         /get/parameters2-/by1./path0_.",
    )
}

pub(super) fn versions(name: &str, error: &VersionError) -> Fault {
    match error {
        VersionError::NoVersion(version) => fault::parameter_version_not_found(format!(
            "Systems Manager could not find version {version} of {name}. Verify the version and try again."
        )),
        VersionError::OldestIsLabelled(oldest) => fault::parameter_max_version_limit_exceeded(format!(
            "You attempted to create a new version of {name} by calling the PutParameter API with the overwrite flag. \
             Version {oldest}, the oldest version, can't be deleted because it has a label associated with it. Move \
             the label to another version of the parameter, and try again."
        )),
        VersionError::TooManyLabels => fault::parameter_version_label_limit_exceeded(
            "A parameter version can have maximum 10 labels. Move one or more labels to another version and try again.",
        ),
    }
}

pub(super) fn tags_and_overwrite() -> Fault {
    validation(
        "Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please remove \
         overwrite flag. To update tags for an existing parameter, please use AddTagsToResource or \
         RemoveTagsFromResource.",
    )
}

pub(super) fn tag(error: &TagError) -> Fault {
    match error {
        TagError::TooMany => fault::too_many_tags_error("A parameter can have at most 50 tags."),
        error => validation(error.to_string()),
    }
}

pub(super) fn type_needed() -> Fault {
    validation("A parameter type is required when you create a parameter.")
}

pub(super) fn type_change(before: &str, after: &str) -> Fault {
    fault::hierarchy_type_mismatch_exception(format!(
        "Parameter Store does not support changing a parameter type in a hierarchy. For example, you can't change a \
         parameter from a {before} type to a {after} type. You must create a new, unique parameter."
    ))
}

pub(super) fn empty_value() -> Fault {
    validation(
        "1 validation error detected: Value '' at 'value' failed to satisfy constraint: Member must have length \
         greater than or equal to 1.",
    )
}

pub(super) fn too_large(tier: &str, max: usize) -> Fault {
    let more = match tier {
        "Standard" => {
            " To create a larger parameter value, upgrade the parameter to use the advanced-parameter tier. For more \
             information, see https://docs.aws.amazon.com/systems-manager/latest/userguide/\
             parameter-store-advanced-parameters.html"
        }
        _ => "",
    };
    validation(format!("{tier} tier parameters support a maximum parameter value of {max} characters.{more}"))
}

pub(super) fn nested() -> Fault {
    validation("Parameter value can't nest another parameter. Do not use \"{{}}\" in the value.")
}

pub(super) fn downgrade() -> Fault {
    validation(
        "This parameter uses the advanced-parameter tier. You can't downgrade a parameter from the advanced-parameter \
         tier to the standard-parameter tier. If necessary, you can delete the advanced parameter and recreate it as a \
         standard parameter.",
    )
}

pub(super) fn key_of_plain() -> Fault {
    fault::invalid_key_id("KeyId can be given for a parameter of type SecureString only.")
}

pub(super) fn data_type(data_type: &str) -> Fault {
    validation(format!("The following data type is not supported: {data_type} (Data type names are all lowercase.)"))
}

pub(super) fn data_type_value(data_type: &str) -> Fault {
    validation(format!("The value is not one of a parameter of data type {data_type}."))
}

pub(super) fn pattern() -> Fault {
    fault::invalid_allowed_pattern_exception("The request does not meet the regular expression requirement.")
}

pub(super) fn mismatch(pattern: &str) -> Fault {
    fault::parameter_pattern_mismatch_exception(format!(
        "Parameter value, cannot be validated against allowedPattern: {pattern}"
    ))
}

pub(super) fn policy(error: &PolicyError) -> Fault {
    match error {
        PolicyError::Malformed => {
            fault::invalid_policy_attribute_exception("The policies are not a JSON array of parameter policies.")
        }
        PolicyError::Type(kind) => fault::invalid_policy_type_exception(format!(
            "The policy type {kind} is not supported. Gantry supports Expiration policies."
        )),
        PolicyError::Attribute(name) => {
            fault::invalid_policy_attribute_exception(format!("The attribute {name} of a policy isn't valid."))
        }
        PolicyError::Twice(kind) => {
            fault::incompatible_policy_exception(format!("There is more than one policy of type {kind}."))
        }
        PolicyError::TooMany => {
            fault::policies_limit_exceeded_exception("You specified more than the maximum number of policies (10).")
        }
    }
}

pub(super) fn policy_of_standard() -> Fault {
    validation("Parameter policies are supported for parameters of the advanced-parameter tier only.")
}

pub(super) fn too_many(max: usize) -> Fault {
    fault::parameter_limit_exceeded(format!(
        "You have exceeded the number of parameters for this AWS account and region, {max}. Delete one or more \
         parameters and try again."
    ))
}

pub(super) fn both_filters() -> Fault {
    validation("You can use either Filters or ParameterFilters in a single request.")
}

pub(super) fn filter(error: FilterError) -> Fault {
    match error {
        FilterError::Key(key) => {
            fault::invalid_filter_key(format!("The following filter key is not valid: {key}. It can't be used here."))
        }
        FilterError::Option { option, valid } => fault::invalid_filter_option(format!(
            "The following filter option is not valid: {option}. Valid options include: {valid}."
        )),
        FilterError::NoValues(key) => {
            fault::invalid_filter_value(format!("The following filter values are missing : null for filter key {key}."))
        }
        FilterError::Path(_) => path(),
    }
}

pub(super) fn decryption_needed() -> Fault {
    validation("WithDecryption flag must be True for retrieving a Secret Manager secret.")
}

/// Somebody else keeps changing the same parameter; SDKs try again.
pub(super) fn concurrent() -> Fault {
    fault::too_many_updates("There are concurrent updates for a resource that supports one update at a time.")
}

pub(super) fn not_ours(cause: impl Error + Send + Sync + 'static) -> Fault {
    fault::invalid_key_id("The value can't be decrypted with the key of this server.").caused_by(cause)
}

pub(super) fn store(error: StoreError) -> Fault {
    match error {
        StoreError::KeyLength { .. } => validation("The name is too long."),
        error => unavailable(error),
    }
}
