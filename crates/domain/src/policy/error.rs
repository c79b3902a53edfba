//! Why a text is not a policy.

/// A text that is not a policy of the kind it should be. The services answer with sentences of their own, which say
/// less; this says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", .statement.map(|number| format!("statement {number}: ")).unwrap_or_default())]
pub struct PolicyError {
    /// Which statement, counted from 1; none when it is about the whole document.
    pub statement: Option<usize>,
    /// What is wrong.
    pub problem: Problem,
}

/// What can be wrong with a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Problem {
    #[error("longer than {0} bytes")]
    TooLong(usize),
    #[error("not JSON: {0}")]
    NotJson(String),
    #[error("{0:?} is given twice")]
    DuplicateElement(String),
    #[error("unknown element {0:?}")]
    UnknownElement(String),
    #[error("{0} must be {1}")]
    Type(&'static str, &'static str),
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} and {1} exclude each other")]
    Both(&'static str, &'static str),
    #[error("{0} does not belong in this kind of policy")]
    Forbidden(&'static str),
    #[error("{0} is empty")]
    Empty(&'static str),
    #[error("unknown Version {0:?}")]
    Version(String),
    #[error("Sid {0:?} may have letters and digits only")]
    Sid(String),
    #[error("Sid {0:?} is given to two statements")]
    SidNotUnique(String),
    #[error("Effect must be \"Allow\" or \"Deny\", not {0:?}")]
    Effect(String),
    #[error("{0:?} is not an action")]
    Action(String),
    #[error("{0:?} is neither an ARN nor \"*\"")]
    Resource(String),
    #[error("a variable may stand in the last part of a resource only: {0:?}")]
    VariablePlace(String),
    #[error("{0:?} is not a principal")]
    Principal(String),
    #[error("unknown type of principal {0:?}")]
    PrincipalType(String),
    #[error("NotPrincipal goes with \"Deny\" only")]
    NotPrincipalAllow,
    #[error("unknown condition operator {0:?}")]
    Operator(String),
    #[error("{0:?} is not a condition key")]
    ConditionKey(String),
    #[error("{1:?} is not a value for {0}")]
    ConditionValue(String, String),
    #[error("malformed variable in {0:?}")]
    Variable(String),
}

impl From<Problem> for PolicyError {
    fn from(problem: Problem) -> Self {
        Self { statement: None, problem }
    }
}
