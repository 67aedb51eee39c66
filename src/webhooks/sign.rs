//! Signatures as Standard Webhooks has them, so that its libraries check them.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::options::WebhookSecret;

/// The value of `webhook-signature`: the version and the HMAC-SHA256 of id, time and body.
pub(super) fn signature(secret: &WebhookSecret, id: &str, seconds: u64, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(&secret.0);
    context.update(format!("{id}.{seconds}.").as_bytes());
    context.update(body);
    format!("v1,{}", STANDARD.encode(context.sign()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_is_the_one_of_the_published_example() {
        // From the specification of Standard Webhooks.
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let secret: WebhookSecret = secret.parse().expect("a secret");
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        assert_eq!(
            signature(&secret, id, 1_614_265_330, br#"{"test": 2432232314}"#),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn what_is_no_secret_is_refused_and_none_is_shown() {
        for text in [
            "",
            "whsec_",
            "whsec_c2hvcnQ=",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_%%%",
        ] {
            assert!(text.parse::<WebhookSecret>().is_err(), "{text:?}");
        }
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse::<WebhookSecret>();
        assert_eq!(format!("{:?}", secret.expect("a secret")), "***");
    }
}
