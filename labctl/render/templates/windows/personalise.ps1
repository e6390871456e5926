# Gives a machine what is its own and stands on no disc; before this line, $data holds its values.
$ErrorActionPreference = 'Stop'
$ssh = "$env:ProgramData\ssh"
$key = "$ssh\ssh_host_ed25519_key"
try {
    $own = [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($data)) | ConvertFrom-Json
    $new = -not (Test-Path -LiteralPath $key)
    # One that was not loaded from memory is given this at its first start alone: what people change later stays.
    if ($own.first -and -not $new) { exit 0 }
    $clock = [DateTimeOffset]::FromUnixTimeMilliseconds($own.now).LocalDateTime
    Set-Date -Date $clock | Out-Null
    # sshd reads this file at each login; its rights stay.
    [IO.File]::WriteAllText("$ssh\administrators_authorized_keys", $own.authorized_keys)
    # A domain controller has no accounts but those of its domain, whose passwords all clones have in common.
    if ((Get-CimInstance -ClassName Win32_ComputerSystem).DomainRole -lt 4) {
        # By his number: his name depends on the language.
        $account = Get-CimInstance -ClassName Win32_UserAccount -Filter `
            "SID LIKE 'S-1-5-21-%-500' AND LocalAccount = TRUE" | Select-Object -First 1
        $entry = [ADSI]"WinNT://./$($account.Name),user"
        $entry.SetPassword($own.password)
    }
    if ($new) {
        # For the system and administrators alone, before anything is in it; under this name once it is whole.
        [IO.File]::WriteAllText("$key.new", '')
        & icacls.exe "$key.new" /inheritance:r /grant '*S-1-5-18:F' '*S-1-5-32-544:F' | Out-Null
        if ($LASTEXITCODE -ne 0) { throw "icacls $key.new ended with code $LASTEXITCODE" }
        [IO.File]::WriteAllText("$key.new", $own.host_key)
        Move-Item -LiteralPath "$key.new" -Destination $key
        Start-Service -Name sshd
    }
    foreach ($name in $own.leased) {
        & ipconfig.exe /renew $name | Out-Null
    }
} catch {
    Write-Output "$_"
    exit 1
}
exit 0
