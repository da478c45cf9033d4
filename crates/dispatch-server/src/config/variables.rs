//! `${NAME}` in values.

use std::env::VarError;

/// Where variables come from: a function such as `std::env::var`.
pub type Environment<'a> = &'a dyn Fn(&str) -> Result<String, VarError>;

/// What is wrong with a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// There is no such variable.
    Unset(String),
    /// What it holds is no text.
    NotText(String),
    /// It is not written as one.
    Form,
}

impl Trouble {
    /// What to tell.
    pub(super) fn sentence(&self) -> String {
        match self {
            Self::Unset(name) => format!("the environment variable {name} is not set: set it, or write the value here"),
            Self::NotText(name) => format!("the environment variable {name} is no UTF-8 text"),
            Self::Form => "a variable is written ${NAME}, of letters, digits and `_`; for the characters `${` themselves \
                           write `$${`"
                .to_owned(),
        }
    }
}

/// A text with its variables replaced, and the names of those.
pub(super) fn expand(text: &str, env: Environment<'_>) -> Result<(String, Vec<String>), Vec<Trouble>> {
    let (mut out, mut names, mut troubles, mut rest) = (String::new(), Vec::new(), Vec::new(), text);
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &from[2..];
            continue;
        }
        out.push_str(before);
        let name = from[2..].split_once('}').filter(|(name, _)| is_name(name));
        let Some((name, behind)) = name else {
            troubles.push(Trouble::Form);
            rest = &from[2..];
            continue;
        };
        match env(name) {
            Ok(value) => out.push_str(&value),
            Err(VarError::NotPresent) => troubles.push(Trouble::Unset(name.to_owned())),
            Err(VarError::NotUnicode(_)) => troubles.push(Trouble::NotText(name.to_owned())),
        }
        names.push(name.to_owned());
        rest = behind;
    }
    out.push_str(rest);
    if troubles.is_empty() { Ok((out, names)) } else { Err(troubles) }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.as_bytes()[0].is_ascii_digit()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The name of a variable that was written without its braces, if that is all that there is.
pub(super) fn bare(text: &str) -> Option<&str> {
    let is_upper = |name: &&str| is_name(name) && !name.bytes().any(|byte| byte.is_ascii_lowercase());
    text.strip_prefix('$').filter(is_upper)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn env(name: &str) -> Result<String, VarError> {
        match name {
            "A" => Ok("one".to_owned()),
            "NESTED" => Ok("${A}".to_owned()),
            "EMPTY" => Ok(String::new()),
            _ => Err(VarError::NotPresent),
        }
    }

    fn expanded(text: &str) -> Result<String, Vec<Trouble>> {
        expand(text, &env).map(|(text, _)| text)
    }

    #[test]
    fn a_variable_is_replaced_wherever_it_stands() {
        for (text, expected) in [
            ("${A}", "one"),
            ("x${A}y${A}z", "xoneyonez"),
            ("${EMPTY}", ""),
            ("$A $ {A} 5$", "$A $ {A} 5$"),
            ("ä${A}ö", "äoneö"),
        ] {
            assert_eq!(expanded(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_a_variable_holds_is_not_expanded_again() {
        assert_eq!(expanded("${NESTED}").as_deref(), Ok("${A}"));
    }

    #[test]
    fn two_dollars_stand_for_the_characters_themselves() {
        assert_eq!(
            expanded("$${A} $${{ x }} $$$${").as_deref(),
            Ok("${A} ${{ x }} $$$${".replace("$$$${", "$$${").as_str())
        );
    }

    #[test]
    fn all_that_is_wrong_is_told() {
        let unset = |name: &str| Trouble::Unset(name.to_owned());
        for (text, expected) in [
            ("${B} ${C}", vec![unset("B"), unset("C")]),
            ("${", vec![Trouble::Form]),
            ("${}", vec![Trouble::Form]),
            ("${A:-x}", vec![Trouble::Form]),
            ("${1}", vec![Trouble::Form]),
            ("${{ a }}", vec![Trouble::Form]),
        ] {
            assert_eq!(expanded(text), Err(expected), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_text_without_variables_stays_as_it_is(text in "[^$]*|[^{]*") {
            prop_assert_eq!(expanded(&text), Ok(text));
        }

        #[test]
        fn any_text_can_be_escaped(text in ".*") {
            // A dollar before the braces would be taken for the escape itself.
            prop_assume!(!text.contains("$${"));
            prop_assert_eq!(expanded(&text.replace("${", "$${")), Ok(text));
        }
    }
}
