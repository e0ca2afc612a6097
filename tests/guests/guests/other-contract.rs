//! Was built for a contract of the future.

struct OtherContract;

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package tidegate:plugin@0.2.0;

            interface plugin {
                describe: func() -> string;
            }

            world transform {
                export plugin;
            }
        ",
    });
}

impl bindings::exports::tidegate::plugin::plugin::Guest for OtherContract {
    fn describe() -> String {
        "from the future".into()
    }
}

bindings::export!(OtherContract with_types_in bindings);
