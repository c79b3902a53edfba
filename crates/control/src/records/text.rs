//! How domain types, which know no serde, are written into rows: by their text.

/// Domain enums with `as_str` and `parse`.
macro_rules! named {
    ($module:ident, $type:ty) => {
        pub(crate) mod $module {
            use std::borrow::Cow;

            use serde::{Deserialize, Deserializer, Serializer, de::Error};

            pub(crate) fn serialize<S: Serializer>(value: &$type, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(value.as_str())
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                let name = Cow::<'de, str>::deserialize(deserializer)?;
                <$type>::parse(&name).ok_or_else(|| D::Error::custom("unknown name"))
            }
        }
    };
}

named!(direction, gantry_domain::rollout::Direction);
named!(hook_status, gantry_domain::rollout::HookStatus);
named!(stage, gantry_domain::rollout::Stage);
named!(last_status, gantry_domain::task::LastStatus);
named!(desired_status, gantry_domain::task::DesiredStatus);
named!(container_status, gantry_domain::task::ContainerStatus);
named!(health_status, gantry_domain::task::HealthStatus);
named!(stop_code, gantry_domain::task::StopCode);

/// A moment as milliseconds.
pub(crate) mod millis {
    use gantry_domain::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(value.as_millis())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        i64::deserialize(deserializer).map(Timestamp::from_millis)
    }
}

/// A moment that may not have come; add `default, skip_serializing_if = "Option::is_none"`.
pub(crate) mod optional_millis {
    use gantry_domain::Timestamp;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(Timestamp::as_millis).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<i64>::deserialize(deserializer)?.map(Timestamp::from_millis))
    }
}
