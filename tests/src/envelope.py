import base64, json, os
import boto3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FORMAT = "tidegate-envelope-1"

class Envelopes:
    """Encrypts payloads by one data key. Make another after an hour, or a million payloads."""

    def __init__(self, key_arn, context):
        data_key = boto3.client("kms").generate_data_key(
            KeyId=key_arn, KeySpec="AES_256", EncryptionContext=context)
        self.cipher = AESGCM(data_key["Plaintext"])
        encrypted = base64.b64encode(data_key["CiphertextBlob"]).decode()
        self.envelope = {
            "format": FORMAT, "key": data_key["KeyId"], "data_key": encrypted, "context": context}

    def seal(self, payload):
        nonce = os.urandom(12)
        ciphertext = self.cipher.encrypt(nonce, payload, FORMAT.encode())
        sealed = {"nonce": base64.b64encode(nonce).decode(),
                  "ciphertext": base64.b64encode(ciphertext).decode()}
        return json.dumps(self.envelope | sealed).encode()
