//! Input by keyboard.

use serde_json::json;

use crate::Result;
use crate::browser::Page;

impl Page {
    /// Presses and releases a key, as `Tab` or `Enter`.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if the browser does not respond.
    pub async fn press(&self, key: &str) -> Result<()> {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            _ => 0,
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({
                "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code,
            });
            if key == "Enter" && kind == "keyDown" {
                event["text"] = "\r".into();
            }
            self.call("Input.dispatchKeyEvent", event).await?;
        }
        Ok(())
    }

    /// Types a text where the focus is.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if the browser does not respond.
    pub async fn enter_text(&self, text: &str) -> Result<()> {
        let insert = json!({"text": text});
        self.call("Input.insertText", insert).await.map(drop)
    }
}
