//! How does text travel where only printable ASCII may? Percent-encoded, as CloudEvents says for HTTP and NATS.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// Spaces, quotes, percent signs and whatever is not printable ASCII.
const HEADER: AsciiSet = CONTROLS.add(b' ').add(b'"').add(b'%');

/// What a URI reference cannot have.
const URI: AsciiSet = HEADER.add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');

/// The text of an attribute as the value of a header.
#[must_use]
pub fn encoded(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, &HEADER).into()
}

/// The text of an attribute out of the value of a header. What is not encoded correctly is left as it is.
#[must_use]
pub fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8().unwrap_or(Cow::Borrowed(text))
}

/// Our `source`, which is any text, as the URI reference that CloudEvents asks for.
pub(super) fn uri(source: &str) -> Cow<'_, str> {
    utf8_percent_encode(source, &URI).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_survives_a_header(text: String) {
            let encoded = encoded(&text);
            prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic()), "{encoded}");
            prop_assert_eq!(&*decoded(&encoded), &text);
            let uri = uri(&text);
            prop_assert_eq!(&*decoded(&uri), &text);
        }
    }

    #[test]
    fn text_is_encoded_as_cloudevents_says() {
        assert_eq!(encoded("Euro € 😀"), "Euro%20%E2%82%AC%20%F0%9F%98%80");
        assert_eq!(decoded("100% of %E2%82"), "100% of %E2%82");
    }
}
