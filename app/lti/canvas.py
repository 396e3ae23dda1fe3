"""What Canvas alone wants: the developer key's JSON, as an administrator pastes its address into Canvas."""

from typing import Any
from urllib.parse import urlsplit

# Canvas puts the values in at launch; one that it cannot resolve arrives as it stands here.
CUSTOM_FIELDS = {
    "canvas_course_id": "$Canvas.course.id",
    "canvas_user_id": "$Canvas.user.id",
}


def developer_key(app_url: str, title: str, description: str) -> dict[str, Any]:
    """Return the LTI 1.3 configuration that Canvas's “Enter URL” method reads."""
    target = f"{app_url}/lti/launch"
    icon = f"{app_url}/static/images/icon.svg"
    return {
        "title": title,
        "description": description,
        "oidc_initiation_url": f"{app_url}/lti/login",
        "target_link_uri": target,
        "public_jwk_url": f"{app_url}/lti/jwks.json",
        "scopes": [],
        "custom_fields": CUSTOM_FIELDS,
        "extensions": [
            {
                "platform": "canvas.instructure.com",
                "domain": urlsplit(app_url).netloc,
                "tool_id": "ai-experiences",
                "privacy_level": "public",
                "settings": {
                    "text": title,
                    "icon_url": icon,
                    "placements": [
                        {
                            "placement": "course_navigation",
                            "message_type": "LtiResourceLinkRequest",
                            "text": title,
                            "target_link_uri": target,
                            "enabled": True,
                            "default": "enabled",
                            "visibility": "public",
                        }
                    ],
                },
            }
        ],
    }
